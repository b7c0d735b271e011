"""`drag check`: all problems of a pipeline file at once, before anything starts."""

from pathlib import Path

import pytest

from tests.conftest import ROOT

RUN = "run: {dir: runs/x, corpus: c.jsonl, questions: q.jsonl, model: m}\n"


@pytest.fixture
def problems(tmp_path: Path, drag):
    """The problems that `drag check` lists of a file with this text."""

    def check(text: str) -> list[str]:
        (tmp_path / "p.yaml").write_text(text)
        done = drag("check", tmp_path / "p.yaml")
        assert done.error is None, done.err
        assert done.out == b""
        if done.code == 0:
            assert done.err.endswith("p.yaml: ok\n")
            return []
        assert done.code == 4
        heading, *lines = done.err.splitlines()
        assert heading.endswith(f"p.yaml: {len(lines)} problem(s)")
        return [line.strip() for line in lines]

    return check


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_pipelines_that_ship_are_right(drag, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAG_DATA", "/data")
    monkeypatch.setenv("SMOKE", "/smoke")
    done = drag("check", path)
    assert done.code == 0, done.err


def test_every_problem_of_a_broken_file_is_listed(problems) -> None:
    found = problems(
        """
        run: {dir: runs/x, corpsu: c.jsonl, questions: q.jsonl, policies: stpo, rows: k3 k5}
        retrieve: {top-k: five, tpo-k: 3}
        rerank-teacher: {teacher: mono-t5}
        build-bc: {dpo-share: 1.5}
        sample: {temperature: 9, rollouts: 0, model: m}
        reward: {weights: em=much}
        infer: {selector: top-k, k3: {selector: "top-k:3", seeed: 1}}
        train: {sft: {finetuning: ful, model: m}, dpp: {beta: 1}, rrpo: {model: m, reader: r, stop: {k: "0:2"}}}
        indexx: {retriever: bm25}
        """
    )
    expected = [
        "'run.corpsu'. Did you mean 'corpus'?",
        "the key 'corpus' is missing",
        "the key 'model' is missing",
        "train.rrpo variant 'stpo' in run.policies. Did you mean 'stop'?",
        "infer variant 'k5'",
        "retrieve: unknown key 'tpo-k'. Did you mean 'top-k'?",
        "retrieve.top-k:",
        "rerank-teacher.teacher: unknown teacher 'mono-t5'. Did you mean 'monot5'?",
        "build-bc.dpo-share:",
        "sample.temperature:",
        "sample.rollouts:",
        "reward.weights: reward weight 'em=much'",
        "infer.selector: selector 'top-k' needs a number",
        "infer.k3: unknown key 'seeed'. Did you mean 'seed'?",
        "train.sft.finetuning:",
        "'train.dpp'. Did you mean 'dpo'?",
        "'indexx'. Did you mean 'index'?",
    ]
    assert [text for text in expected if not any(text in problem for problem in found)] == []
    assert len(found) == len(expected)


def test_a_right_file_is_ok_with_values_converted_as_on_the_command_line(problems) -> None:
    assert problems(RUN + "retrieve: {top-k: 5, index: [a, b]}\ntrain: {sft: {use-cpu: true, cutoff: 512, model: m}}\n") == []


@pytest.mark.parametrize(
    ("section", "missing"),
    [
        ("rerank-teacher: {batch-size: 4}", ["rerank-teacher: the key 'teacher'"]),
        ("sample: {rollouts: 4}", ["sample: the key 'model'"]),
        (
            "train: {sft: {epochs: 1}, rrpo: {epochs: 1}}",
            ["train.sft: the key 'model'", "train.rrpo: the key 'model'", "train.rrpo: the key 'reader'"],
        ),
        ("sample: {a: {model: m}, b: {rollouts: 4}}", ["sample.b: the key 'model'"]),
        ("sample: {model: m, a: {rollouts: 4}}", []),
        ("retrieve: {top-k: 3}", []),
    ],
)
def test_options_that_a_command_cannot_do_without(problems, section: str, missing: list[str]) -> None:
    found = problems(RUN + section + "\n")
    assert [line[: len(wanted)] for line, wanted in zip(found, missing, strict=True)] == missing


def test_what_the_environment_gives_is_not_missing(problems, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAG_RERANK_TEACHER_TEACHER", "gold")
    monkeypatch.setenv("DRAG_TRAIN_SFT_MODEL", "m")
    assert problems(RUN + "rerank-teacher: {batch-size: 4}\ntrain: {sft: {epochs: 1}}\n") == []


def test_keys_may_be_written_with_underscores(problems) -> None:
    assert problems(RUN + "retrieve: {top_k: 5}\n") == []


def test_an_empty_run_section_lists_what_it_needs(problems) -> None:
    assert len(problems("index: {retriever: bm25}\n")) == 4


def test_a_missing_file_is_exit_4(drag, tmp_path: Path) -> None:
    assert drag("check", tmp_path / "nowhere.yaml").code == 4


@pytest.mark.parametrize("run", ["[a]", "words"])
def test_a_run_section_that_is_no_table_is_a_problem(problems, run: str) -> None:
    assert any("run: expected a table" in problem for problem in problems(f"run: {run}\n"))


def test_a_section_that_is_no_table_is_a_problem(problems) -> None:
    assert len(problems(RUN + "retrieve: 5\n")) == 1


@pytest.mark.parametrize("section", ["infer: {selector: 3}", "reward: {weights: [em=1]}", "build-dpo: {weights: 1}"])
def test_a_value_of_the_wrong_type_is_a_problem(problems, section: str) -> None:
    assert len(problems(RUN + section + "\n")) == 1


def test_variables_that_are_not_set_are_problems_among_the_others(problems, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOWHERE", "ELSEWHERE"):
        monkeypatch.delenv(name, raising=False)
    found = problems(
        RUN + "index: {model: '${NOWHERE}/x', retriver: bm25}\nrerank-teacher: {teacher: monot5, model: '${ELSEWHERE}'}\n"
    )
    assert len(found) == 3
    assert [name for name in ("NOWHERE", "ELSEWHERE", "retriver") if not any(name in problem for problem in found)] == []
