"""`drag infer`: files of candidates, and one question for a person or a program."""

import json
import shutil
from pathlib import Path

import pytest

from tests.samples import SELECT, question, read, script, write

ASK = ("infer", "--question", "Which cat lives in prides?")


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    return script(tmp_path / "fake.json", default="the lion", **{SELECT: ["[2], [1]"]})


def test_a_person_reads_the_answer_on_stdout_and_the_passages_on_stderr(drag, toy_bm25: Path, fake: Path) -> None:
    done = drag(*ASK, "--index", toy_bm25, "--engine", "fake", "--model", fake)
    assert done.code == 0, done.err
    assert done.out == b"the lion\n"
    assert "1. " in done.err
    assert "(retrieved as 2 of 5, score " in done.err
    assert done.err.index("retrieved as 2 of 5") < done.err.index("2. Lion (retrieved as 1 of 5, score")


def test_a_person_can_read_the_whole_passage(drag, toy_bm25: Path, fake: Path) -> None:
    done = drag(*ASK, "--index", toy_bm25, "--engine", "fake", "--model", fake)
    assert "Gujarat" in done.err


def test_a_terminal_obeys_neither_a_passage_nor_a_model(drag, tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[31m[red]lion\u202e"
    corpus = [
        {"id": f"p{number}", "title": f"{evil} {number}", "text": f"Which cat lives in prides? {evil}"} for number in range(2)
    ]
    assert drag("index", write(tmp_path / "corpus.jsonl", corpus), "-o", tmp_path / "bm25").code == 0
    fake = script(tmp_path / "fake.json", default=f"the {evil}", **{SELECT: [f"[1] {evil}"]})
    call = (*ASK, "--index", tmp_path / "bm25", "--engine", "fake", "--model", fake)
    done = drag(*call)
    assert (done.code, done.out) == (0, b"the ]0;owned[31m[red]lion\n"), done.err
    assert done.err.count("]0;owned[31m[red]lion") >= 2
    assert "malformed reply" in done.err
    program = drag(*call, "--json")
    assert json.loads(program.out)["rollout"]["answer"] == f"the {evil}"
    for text in (done.err, program.out.decode(), program.err):
        assert not {*text} & {*"\x1b\x07\u202e"}


def test_a_program_reads_one_json_document(drag, toy_bm25: Path, fake: Path) -> None:
    done = drag(*ASK, "--index", toy_bm25, "--engine", "fake", "--model", fake, "--json", "--top-k", 3)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    names = [doc["id"] for doc in document["docs"]]
    assert (len(names), names[0]) == (3, "bigcats-01")
    rollout = document["rollout"]
    assert rollout["selection"] == [names[1], names[0]]
    assert (rollout["status"], rollout["raw"], rollout["answer"]) == ("ok", "[2], [1]", "the lion")
    assert document["selector"] == "llm"


@pytest.mark.parametrize(
    ("reply", "words", "code"),
    [
        ("None", "no passage chosen", 0),
        ("[1] because", "malformed", 0),
        ("[77]", "names no candidate", 5),
        ("", "empty", 5),
    ],
)
def test_a_person_is_told_of_an_empty_or_malformed_choice(drag, toy_bm25: Path, tmp_path: Path, reply, words, code) -> None:
    """A reply that names nothing is no choice to read nothing, so there is no answer either."""
    fake = script(tmp_path / "fake.json", default="the lion", **{SELECT: [reply]})
    done = drag(*ASK, "--index", toy_bm25, "--engine", "fake", "--model", fake)
    assert (done.code, done.out) == (code, b"" if code else b"the lion\n")
    assert words in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--question", "why?"], 2, "--index"),
        (["--question", "  ", "--index", "{index}"], 2, "empty"),
        ([], 2, "IN"),
        (["--question", "why?", "--index", "{tmp}"], 4, "not an index"),
        (["{tmp}/nowhere.jsonl"], 4, "no such file"),
        (["--question", "why?", "--index", "{index}", "--dataset", "sqaud"], 2, "Did you mean 'squad'?"),
        (["{tmp}/in.jsonl", "--window", "7", "--min-k", "4"], 2, "--window 8 or more"),
    ],
)
def test_wrong_calls(drag, toy_bm25: Path, tmp_path: Path, fake: Path, arguments: list[str], code: int, words: str) -> None:
    filled = [a.format(tmp=tmp_path, index=toy_bm25) for a in arguments]
    done = drag("infer", *filled, "--engine", "fake", "--model", fake)
    assert (done.code, done.error, done.out) == (code, None, b"")
    assert words in done.err


def test_models_that_are_not_given(drag, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1)])
    assert "--model" in drag("infer", source).err
    assert drag("infer", source).code == 2
    done = drag("infer", source, "--selector", "all")
    assert (done.code, "--reader" in done.err) == (2, True)


def test_an_engine_that_fails_is_exit_5(drag, toy_bm25: Path, tmp_path: Path) -> None:
    fake = script(tmp_path / "fake.json", prides={"error": "boom"})
    done = drag(*ASK, "--index", toy_bm25, "--engine", "fake", "--model", fake)
    assert (done.code, done.out) == (5, b"")
    assert "boom" in done.err


@pytest.mark.parametrize(
    ("selector", "places"), [("none", []), ("all", [0, 1, 2]), ("top-k:2", [0, 1]), ("gold", [1]), ("llm", [1, 0])]
)
def test_selectors_on_a_file(drag, tmp_path: Path, fake: Path, selector: str, places: list[int]) -> None:
    source = write(tmp_path / "in.jsonl", [question(number) for number in range(4)])
    call = ("infer", source, "-o", tmp_path / "out.jsonl", "--engine", "fake", "--model", fake, "--selector", selector)
    done = drag(*call)
    assert done.code == 0, done.err
    for record in read(tmp_path / "out.jsonl"):
        assert record["rollout"]["selection"] == [record["docs"][place]["id"] for place in places]
        assert record["rollout"]["answer"] == "the lion"
        assert record["selector"] == selector
    notes = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())["notes"]
    assert notes == {f"selection: {'ok' if places else 'none'}": 4}


def test_the_policy_selects_and_the_reader_answers(drag, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1)])
    policy, reader = script(tmp_path / "policy.json", default="[3]"), script(tmp_path / "reader.json", default="Ulm")
    call = ("infer", source, "-o", tmp_path / "out.jsonl", "--engine", "fake", "--model", policy, "--reader", reader)
    assert drag(*call).code == 0
    (record,) = read(tmp_path / "out.jsonl")
    assert (record["rollout"]["raw"], record["rollout"]["answer"]) == ("[3]", "Ulm")
    assert record["rollout"]["selection"] == [record["docs"][2]["id"]]


def test_a_split_is_read_alone(drag, tmp_path: Path, fake: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(number) for number in range(9)])
    call = (
        "infer",
        source,
        "-o",
        tmp_path / "out.jsonl",
        "--engine",
        "fake",
        "--reader",
        fake,
        "--selector",
        "all",
        "--split",
        "dev",
    )
    assert drag(*call).code == 0
    assert [r["id"] for r in read(tmp_path / "out.jsonl")] == ["q-0", "q-3", "q-6"]


def test_a_tiny_model_selects_and_answers(drag, tmp_path: Path, tiny_lm: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(number) for number in range(2)])
    done = drag("infer", source, "-o", tmp_path / "out.jsonl", "--model", tiny_lm, "--max-selection-tokens", 6)
    assert done.code == 0, done.err
    assert [r["rollout"]["status"] for r in read(tmp_path / "out.jsonl")]
    assert all(r["rollout"]["raw"] is not None for r in read(tmp_path / "out.jsonl"))


def test_one_question_takes_neither_a_file_nor_an_output(drag, tmp_path: Path) -> None:
    done = drag("infer", tmp_path / "in.jsonl", "--question", "Why?", "--selector", "all", "--reader", "x")
    assert (done.code, "leave IN and -o away" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("selector", "option"), [("top-k:2", ("--stop-bias", 1)), ("all", ("--window", 4)), ("none", ("--window-tokens", 99))]
)
def test_options_that_the_selector_would_not_hear_are_refused(drag, tmp_path: Path, fake: Path, selector: str, option) -> None:
    source = write(tmp_path / "in.jsonl", [question(0)])
    done = drag("infer", source, "--engine", "fake", "--reader", fake, "--selector", selector, *option)
    assert (done.code, str(option[0]) in done.err) == (2, True)


@pytest.mark.parametrize(
    ("selector", "more", "n"),
    [
        ("cross-encoder:2", [], 2),
        ("cross-encoder:threshold=0", [], 3),
        ("cross-encoder:threshold=1", [], 0),
        ("rrpo", ["--stop-bias", "50"], 0),
        ("rrpo", ["--stop-bias", "-50"], 2),
        ("rrpo:1:3", ["--stop-bias", "50"], 1),
        ("rrpo:3", [], 3),
    ],
)
def test_selectors_with_a_small_model(drag, tmp_path: Path, fake: Path, tiny_cross_encoder: Path, selector, more, n) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_cross_encoder, model)
    (model / "rrpo.json").write_text(json.dumps({"k": "0:2", "stop": [0.0, 0.0], "temperature": 1.0}))
    source = write(tmp_path / "in.jsonl", [question(number) for number in range(3)])
    call = ("infer", source, "-o", tmp_path / "out.jsonl", "--engine", "fake", "--reader", fake, "--device", "cpu")
    done = drag(*call, "--selector", selector, "--selector-model", model, *more)
    assert done.code == 0, done.err
    for record in read(tmp_path / "out.jsonl"):
        assert (record["selector"], record["rollout"]["answer"]) == (selector, "the lion")
        assert len(record["rollout"]["selection"]) == n
        assert record["rollout"]["status"] == ("ok" if n else "none")


def test_a_relevance_of_scores_that_only_order_is_told(drag, tmp_path: Path, fake: Path, tiny_cross_encoder: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_cross_encoder, model)
    source = write(tmp_path / "in.jsonl", [question(1)])
    call = ("infer", source, "--engine", "fake", "--reader", fake, "--device", "cpu", "--selector-model", model, "--selector")
    for objective, selector, told in (
        ("binary", "cross-encoder:threshold=0.5", False),
        ("listwise", "cross-encoder:threshold=0.5", True),
        ("rrpo", "cross-encoder:threshold=0.5", True),
        ("listwise", "cross-encoder:2", False),
    ):
        (model / "manifest.json").write_text(json.dumps({"objective": objective}))
        done = drag(*call, selector, "-o", tmp_path / f"{objective}-{told}.jsonl")
        assert (done.code, "is no probability" in done.err) == (0, told), done.err


def test_a_small_model_that_is_not_given_or_not_there(drag, tmp_path: Path, fake: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1)])
    call = ("infer", source, "-o", tmp_path / "out.jsonl", "--engine", "fake", "--reader", fake, "--selector", "rrpo")
    done = drag(*call)
    assert (done.code, "--selector-model" in done.err) == (2, True)
    done = drag(*call, "--selector-model", tmp_path / "nowhere")
    assert (done.code, done.error) == (4, None), done.err


def test_rows_share_the_reader_s_answers_and_come_out_the_same(drag, tmp_path: Path, fake: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(number) for number in range(3)])
    call = ("infer", source, "--engine", "fake", "--reader", fake, "--selector")
    with_cache = ("--cache", tmp_path / "replies.sqlite")
    counts = []
    for selector in ("all", "top-k:3", "top-k:1"):
        for name, more in (("kept", with_cache), ("asked", ("--cache", "none"))):
            done = drag(*call, selector, "-o", tmp_path / name, *more)
            assert done.code == 0, done.err
        assert (tmp_path / "kept").read_bytes() == (tmp_path / "asked").read_bytes()
        told = [json.loads((tmp_path / f"{name}.manifest.json").read_text())["counts"] for name in ("kept", "asked")]
        assert "cache_hits" not in told[1]
        counts.append((told[0]["cache_hits"], told[0]["cache_misses"]))
    assert counts == [(0, 3), (3, 0), (0, 3)]
    assert (
        "0  greedy replies out of the cache, 3 asked of a model" in drag(*call, "none", "-o", tmp_path / "none", *with_cache).err
    )


def test_a_cache_is_no_part_of_the_result(drag, tmp_path: Path, fake: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1)])
    call = ("infer", source, "-o", tmp_path / "out.jsonl", "--engine", "fake", "--model", fake)
    assert drag(*call, "--cache", tmp_path / "replies.sqlite").code == 0
    assert "up to date" in drag(*call).err


def test_a_file_that_is_no_cache_is_told(drag, tmp_path: Path, fake: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1)])
    done = drag("infer", source, "--engine", "fake", "--model", fake, "--cache", source)
    assert (done.code, "give another --cache" in done.err) == (4, True), done.err


def test_a_large_pool_is_read_in_windows(drag, tmp_path: Path) -> None:
    record = question(1)
    docs = [
        {"id": f"p{place}", "title": f"Title {place}", "text": f"Hay {place}." if place != 27 else "Needle."}
        for place in range(40)
    ]
    source = write(tmp_path / "in.jsonl", [{**record, "docs": docs, "gold_passage_ids": ["p27"]}])
    # The needle is the seventh of its window, then the first: (27 - 3) / 4 + 1 of ten, and alone.
    fake = script(
        tmp_path / "fake.json", default="the lion", **{"Needle. [7]": ["[7]"], "Needle. [1]": ["[1]"], SELECT: ["None"]}
    )
    call = ("infer", source, "--engine", "fake", "--model", fake, "-o", tmp_path / "out.jsonl")
    done = drag(*call, "--window", 10)
    assert done.code == 0, done.err
    (made,) = read(tmp_path / "out.jsonl")
    rollout = made["rollout"]
    assert (rollout["selection"], rollout["n_calls"], rollout["window"]) == (["p27"], 5, ["p27"])
    assert "5 prompts" in drag("show", tmp_path / "out.jsonl").out.decode()
    prompt = drag("show", tmp_path / "out.jsonl", "--prompt").out.decode()
    assert "Needle. [1]" in prompt
    assert "Hay" not in prompt
    assert drag(*call, "--top-n", 12, "--window", 12, "--fresh").code == 0
    (made,) = read(tmp_path / "out.jsonl")
    assert (len(made["docs"]), made["rollout"]["status"], "n_calls" in made["rollout"]) == (12, "none", False)


def test_windows_without_a_choice_are_counted_and_tokens_must_be_countable(drag, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1)])
    fake = script(tmp_path / "fake.json", default="the lion", **{SELECT: ["no idea"]})
    call = ("infer", source, "--engine", "fake", "--model", fake, "-o", tmp_path / "out.jsonl")
    assert drag(*call, "--window", 2).code == 0
    notes = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())["notes"]
    assert notes["window: no choice, its first half went on"] == 2
    done = drag(*call, "--window-tokens", 5, "--fresh")
    assert (done.code, "--max-model-len" in done.err) == (2, True), done.err
