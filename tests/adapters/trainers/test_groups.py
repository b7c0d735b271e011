"""Examples of a question stand together, whole groups first, in an order that the seed decides."""

import json
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.trainers.groups import GROUPED, Bad, write_groups, write_sound
from dynamicrag_cli.core.errors import UsageError

NOTHING: Bad = {}
NAMES = [f"q{number}" for number in range(9)]


def grouped(folder: Path, *, seed: int = 0, per_step: int = 3, bad: Bad = NOTHING) -> list[str]:
    copies = [{"id": f"{name}#{copy}"} for copy in (0, 1) for name in NAMES]
    answers = [{"id": name} for name in NAMES[1:]]
    for stem, rows in (("reranker_bc", copies), ("generator_sft", answers)):
        (folder / f"{stem}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_groups(folder, ["reranker_bc", "generator_sft"], folder / "out", bad, ranking=False, seed=seed, per_step=per_step)
    return [json.loads(line)["id"] for line in (folder / f"out/{GROUPED}.jsonl").read_text().splitlines()]


def test_whole_groups_come_first_and_short_ones_last(tmp_path: Path) -> None:
    order = grouped(tmp_path)
    assert order[-2:] == ["q0#0", "q0#1"]
    for start in range(0, len(order) - 2, 3):
        name = order[start + 2]
        assert order[start : start + 3] == [f"{name}#0", f"{name}#1", name]


def test_lessons_follow_one_another(tmp_path: Path) -> None:
    rows = [{"id": f"{name}#0", "lesson": number % 3} for number, name in enumerate(NAMES)]
    (tmp_path / "reranker_bc.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_groups(tmp_path, ["reranker_bc"], tmp_path / "out", NOTHING, ranking=False, seed=0, per_step=1)
    made = [json.loads(line) for line in (tmp_path / f"out/{GROUPED}.jsonl").read_text().splitlines()]
    assert [row["lesson"] for row in made] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [row["id"] for row in made] != sorted(row["id"] for row in made)


def test_the_order_is_the_seeds(tmp_path: Path) -> None:
    assert grouped(tmp_path) == grouped(tmp_path)
    assert grouped(tmp_path, seed=1) != grouped(tmp_path)


def test_a_step_of_several_questions_cuts_none_and_takes_short_ones_where_they_fit(tmp_path: Path) -> None:
    """Of nine questions all have one order and six an answer: sizes 2 and 1, four examples a step."""
    orders, answers = [{"id": f"{name}#0"} for name in NAMES], [{"id": name} for name in NAMES[3:]]
    for stem, rows in (("reranker_bc", orders), ("generator_sft", answers)):
        (tmp_path / f"{stem}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = ["reranker_bc", "generator_sft"]
    write_groups(tmp_path, data, tmp_path / "out", NOTHING, ranking=False, seed=0, per_step=4)
    order = [json.loads(line)["id"] for line in (tmp_path / f"out/{GROUPED}.jsonl").read_text().splitlines()]
    assert sorted(order) == sorted([row["id"] for row in orders + answers])
    steps = [order[start : start + 4] for start in range(0, len(order), 4)]
    assert [len(step) for step in steps] == [4, 4, 4, 3]
    for name in NAMES[3:]:
        (step,) = [step for step in steps if name in step]
        assert f"{name}#0" in step


def test_a_short_question_does_not_spoil_the_step_that_another_would_fill(tmp_path: Path) -> None:
    """Of twelve questions every second one has no answer: sizes 3 and 2, six examples a step, so 3 + 3 or 2 + 2 + 2."""
    names = [f"q{number}" for number in range(12)]
    copies = [{"id": f"{name}#{copy}", "lesson": number // 6} for copy in (0, 1) for number, name in enumerate(names)]
    answers = [{"id": name, "lesson": number // 6} for number, name in enumerate(names) if number % 2]
    for stem, rows in (("reranker_bc", copies), ("generator_sft", answers)):
        (tmp_path / f"{stem}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = ["reranker_bc", "generator_sft"]
    write_groups(tmp_path, data, tmp_path / "out", NOTHING, ranking=False, seed=0, per_step=6)
    order = [json.loads(line)["id"].partition("#")[0] for line in (tmp_path / f"out/{GROUPED}.jsonl").read_text().splitlines()]
    assert len(order) == 30
    steps = [set(order[start : start + 6]) for start in range(0, 30, 6)]
    assert sum(map(len, steps)) == 12
    # The first lesson has three questions of each size: one step of it can be filled with either, and one of both lessons.
    assert {name for step in steps[:2] for name in step} <= {f"q{number}" for number in range(6)}


def test_a_step_that_does_not_hold_a_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="set --accumulation"):
        grouped(tmp_path, per_step=4)


def test_bad_examples_are_left_out_and_their_groups_come_last(tmp_path: Path) -> None:
    order = grouped(tmp_path, bad={"reranker_bc": {"q3#1"}, "generator_sft": {"q5"}})
    assert not {"q3#1", "q5"} & set(order)
    assert len(order) == 9 * 3 - 1 - 2
    assert {name.partition("#")[0] for name in order[-6:]} == {"q0", "q3", "q5"}


def test_sound_examples_keep_their_order_and_their_files(tmp_path: Path) -> None:
    (tmp_path / "reranker_bc.jsonl").write_text("\n".join(json.dumps({"id": f"{name}#0"}) for name in NAMES))
    write_sound(tmp_path, ["reranker_bc"], tmp_path / "out", {"reranker_bc": ["q1#0", "q8#0"]}, ranking=False)
    made = [json.loads(line)["id"] for line in (tmp_path / "out/reranker_bc.jsonl").read_text().splitlines()]
    assert made == [f"{name}#0" for name in NAMES if name not in ("q1", "q8")]
    assert list(json.loads((tmp_path / "out/dataset_info.json").read_text())) == ["reranker_bc"]
