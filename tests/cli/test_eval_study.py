"""`drag eval --study` for people, and what manifests add."""

import json

import pytest

from dynamicrag_cli.cli.eval_study import readers_of, seconds_of
from tests import samples
from tests.samples import write


@pytest.fixture
def gold(tmp_path):
    return write(tmp_path / "gold.jsonl", ({k: v for k, v in samples.question(n).items() if k != "docs"} for n in range(12)))


def system(tmp_path, name, selector, takes, right):
    made = []
    for number in range(12):
        ids = [doc["id"] for doc in samples.question(number)["docs"]][: takes(number)]
        changes = {"selection": ids, "status": "ok" if ids else "none", "n_reader_tokens": 50 * len(ids)}
        answer = {} if right(number) else {"answer": "wrong"}
        made.append(samples.prediction(number, **changes, **answer) | {"selector": selector})
    return write(tmp_path / f"{name}.jsonl", made)


@pytest.fixture
def files(tmp_path):
    return [
        system(tmp_path, "none", "none", lambda _: 0, lambda _: False),
        system(tmp_path, "top-2", "top-k:2", lambda _: 2, lambda n: n % 2),
        system(tmp_path, "turned", "top-k:2,reversed", lambda _: 2, lambda n: n % 4 == 1),
        system(tmp_path, "dpo", "llm", lambda n: n % 3, lambda _: True),
    ]


def test_study_prints_its_tables_and_its_sentence_and_writes_both(drag, gold, files) -> None:
    done = drag("eval", "--study", *files, "--gold", gold)
    assert done.code == 0, done.err
    made = json.loads(done.out)["study"]
    assert made["conclusion"]["verdict"] == "better"
    assert done.err.rstrip().endswith(made["conclusion"]["sentence"])
    for words in (
        "oracle k",
        "passages needed",
        "answers changed",
        "dynamic k",
        "front",
        "turned",
        "A perfect choice among none, top-2",
    ):
        assert words in done.err


def test_other_questions_need_common(drag, gold, files, tmp_path) -> None:
    short = tmp_path / "short.jsonl"
    short.write_bytes(b"".join(files[3].read_bytes().splitlines(keepends=True)[:5]))
    done = drag("eval", "--study", files[1], short, "--gold", gold)
    assert (done.code, "Type --common" in done.err) == (4, True)
    done = drag("eval", "--study", "--common", files[1], short, "--gold", gold)
    assert json.loads(done.out)["study"]["questions"] == 5
    assert "7 questions are not in every file" in done.err


def test_seeds_are_for_another_call(drag, gold, files) -> None:
    done = drag("eval", "--study", f"x={files[0]},{files[1]}", "--gold", gold)
    assert (done.code, "one file per system" in done.err) == (2, True)


def test_manifests_tell_seconds_and_readers(drag, gold, files) -> None:
    for number, path in enumerate(files[:2]):
        manifest = {"counts": {"in": 10, "resumed": 0}, "seconds": 5, "fingerprint": {"options": {"reader": f"reader {number}"}}}
        path.with_name(path.name + ".manifest.json").write_text(json.dumps(manifest))
    done = drag("eval", "--study", *files, "--gold", gold)
    made = json.loads(done.out)["study"]
    assert [entry["seconds"] for entry in made["systems"]] == [0.5, 0.5, None, None]
    assert made["readers"] == {"reader 0": ["none"], "reader 1": ["top-2"]}
    assert "answered by 2 different readers (none; top-2)" in done.err


def test_a_run_that_was_resumed_knows_no_seconds() -> None:
    assert seconds_of({"a": {"counts": {"in": 4, "resumed": 1}, "seconds": 2}, "b": {}}) == {}
    assert readers_of({"a": {"fingerprint": {"options": {"model": "m", "reader": None}}}, "b": {}}) == {"m": ["a"]}
