"""What is said about lines that may be wrong: always the same verdict as the reader's, and every problem by its place."""

import json
import random
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.jsonl import Reader
from dynamicrag_cli.core import records as r
from dynamicrag_cli.core.inspection import Inspector, guess_kind
from tests.samples import prediction, question, sampled

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "records").glob("*.jsonl"))
DOC = {"id": "p", "title": "T", "text": "x"}


def line(value: object) -> bytes:
    return json.dumps(value).encode()


def look(kind: type[r.Record], *values: object) -> list[tuple[str, str, str]]:
    """(severity, field, sort) of every problem."""
    inspector = Inspector(kind)
    lines = [value if isinstance(value, bytes) else line(value) for value in values]
    return [(p.severity, p.field, p.sort) for number, row in enumerate(lines, 1) for p in inspector.look(number, row)]


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_golden_records_are_recognised_and_clean(file: Path) -> None:
    lines = file.read_bytes().splitlines()
    assert guess_kind(lines) is r.KINDS[file.stem]
    assert look(r.KINDS[file.stem], *lines) == []


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("_id", "title", "text", "metadata"), r.Passage),
        (("id", "contents"), r.Passage),
        (("qid", "query", "topic"), r.Question),
        (("id", "question", "golden_answers", "metadata"), r.Question),
        (("question", "answers"), r.Question),
        (("question", "answers", "ctxs"), r.RetrievedQuestion),
        (("id", "question", "rollouts"), r.SampledQuestion),
        (("id", "docs", "rollouts", "rewards"), r.RewardedQuestion),
        (("id", "question", "docs", "relevance", "rollout", "selector"), r.Prediction),
        (("id",), None),
        (("foo", "bar"), None),
        (("id", "answers", "dataset"), None),
    ],
)
def test_a_kind_is_guessed_from_names_alone(names: tuple[str, ...], kind: type[r.Record] | None) -> None:
    assert guess_kind([line(dict.fromkeys(names, 1))]) is kind


def test_a_kind_is_guessed_from_the_fields_that_most_lines_have() -> None:
    lines = [line(question(number)) for number in range(3)]
    assert guess_kind([line(sampled(9)), b"nonsense", b"[1]", *lines]) is r.RetrievedQuestion
    assert guess_kind([b"nonsense", b"[1]"]) is None


def test_every_faulty_part_of_a_record_is_named() -> None:
    record = sampled(1)
    record["docs"][0] = {"id": 5, "title": None}
    record["docs"][2] = "p"
    record["rollouts"][1] = {"status": 1, "selection": ["a", 2], "mood": "good"}
    record |= {"split": "tset", "relevance": {"teacher": "t", "model": None, "scores": [0.5, 7]}, "gold_passage_ids": "p"}
    del record["question"]
    assert look(r.SampledQuestion, record) == [
        ("error", "question", "missing field"),
        ("error", "split", "wrong value"),
        ("error", "gold_passage_ids", "wrong value"),
        ("error", "docs[0].text", "missing field"),
        ("error", "docs[2]", "wrong value"),
        ("error", "relevance.scores[1]", "wrong value"),
        ("error", "rollouts[1].selection[1]", "wrong value"),
        ("error", "rollouts[1].status", "wrong value"),
        ("error", "rollouts[1].mood", "unknown field"),
    ]


def test_every_broken_rule_is_named() -> None:
    record = sampled(1, question=" ", dataset="zz", rewards=[])
    record["docs"][0] = record["docs"][2]
    broken = ("question", "dataset", "docs", "rollouts", "rewards")
    assert look(r.RewardedQuestion, record) == [("error", field, "broken rule") for field in broken]


@pytest.mark.parametrize(
    ("broken", "sort"),
    [
        (b"nonsense", "malformed JSON"),
        (b'{"id": "a"', "malformed JSON"),
        (b'{"id": "\xff"}', "malformed JSON"),
        (b"[" * 5000, "malformed JSON"),
        (b'{"id": "a", "new": ' + b"[" * 5000, "malformed JSON"),
        (b"[]", "wrong value"),
        (b'{"id": ""}', "wrong value"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_record_at_all(broken: bytes, sort: str) -> None:
    assert sort in {found for _, _, found in look(r.Passage, broken)}


@pytest.mark.parametrize(
    ("changes", "field", "sort"),
    [
        ({"answers": []}, "answers", "no answers"),
        ({"answers": ["x", " "]}, "answers[1]", "empty answer"),
        ({"docs": [], "gold_passage_ids": []}, "docs", "no candidates"),
        ({"docs": [{**DOC, "text": " "}], "gold_passage_ids": ["p"]}, "docs[0].text", "empty text"),
        ({"docs": [{**DOC, "score": "nan"}], "gold_passage_ids": ["p"]}, "docs[0].score", "score is no number"),
        ({"gold_passage_ids": ["nowhere"]}, "gold_passage_ids", "gold not among candidates"),
        ({"question": "Why\u001b[31m?"}, "question", "control characters"),
        ({"question": "Why\u202e?"}, "question", "control characters"),
        ({"docs": [{**DOC, "title": "\u0000"}], "gold_passage_ids": ["p"]}, "docs[0].title", "control characters"),
        ({"dataset": "asqa", "answers": [], "meta": {"qa_pairs": ["?"]}}, "meta", "unreadable meta"),
    ],
)
def test_a_warning_about_what_the_decoder_accepts(changes: dict, field: str, sort: str) -> None:
    assert look(r.RetrievedQuestion, question(1, **changes)) == [("warning", field, sort)]


def test_long_or_short_answers_are_answers_too() -> None:
    pairs = {"qa_pairs": [{"short_answers": ["Ulm"]}]}
    assert look(r.RetrievedQuestion, question(1, dataset="asqa", answers=[], meta=pairs)) == []


def test_meta_is_nobodys_text() -> None:
    assert look(r.RetrievedQuestion, question(1, meta={"note": "\u001b"}, other="\u001b")) == []


def test_tabs_and_line_ends_are_no_control_characters() -> None:
    assert look(r.Passage, {"id": "p", "text": "a\tb\r\nc\n"}) == []


def test_warnings_about_passages_examples_and_rollouts() -> None:
    example = {"id": "a", "role": "r", "system": "", "user": "u", "assistant": " "}
    pair = {"id": "a", "role": "r", "system": "", "user": " ", "chosen": "x", "rejected": "y", "margin": 1}
    assert look(r.Passage, {"id": "p", "text": " "}) == [("warning", "text", "empty text")]
    assert look(r.ChatExample, example) == [("warning", "assistant", "empty text")]
    assert look(r.PreferencePair, pair) == [("warning", "user", "empty text")]
    assert look(r.SampledQuestion, sampled(1, rollouts=[])) == [("warning", "rollouts", "no rollouts")]
    assert look(r.Prediction, prediction(1, status="good")) == [("warning", "rollout.status", "unknown status")]


def test_an_id_that_was_met_before() -> None:
    inspector = Inspector(r.Passage)
    first, again = (inspector.look(number, line({**DOC, "id": name})) for number, name in ((1, "7"), (2, 7)))
    assert (first, [p.sort for p in again], again[0].line, again[0].id) == ([], ["duplicate id"], 2, "7")
    assert (inspector.n_lines, inspector.n_records, inspector.n_duplicates) == (2, 1, 1)


def test_ids_that_belong_to_different_things_are_no_duplicates() -> None:
    example = {"id": "a", "system": "", "user": "u", "assistant": "x"}
    assert look(r.ChatExample, *({**example, "role": role} for role in ("reranker", "generator"))) == []
    scores = {"id": "a", "dataset": "qa", "scores": {}}
    assert look(r.QuestionScores, *({**scores, "system": system} for system in ("sft", "dpo"))) == []
    assert len(look(r.QuestionScores, *[{**scores, "system": "sft"}] * 2)) == 1
    assert look(r.Reject, *[{"line": 1, "id": name, "reason": "x"} for name in (None, None, "a", "a")]) == []


def test_what_is_in_the_file_is_counted() -> None:
    inspector = Inspector(r.Question)
    for number, changes in enumerate([{"split": "train", "topic": 1}, {"split": "dev", "dataset": "nq"}, {}, {"question": 5}]):
        inspector.look(number, line({"id": str(number), "question": "Why?", "answers": ["x"], **changes}))
    assert inspector.groups == {"dataset": {"qa": 2, "nq": 1}, "split": {"train": 1, "dev": 1, "(none)": 1}}
    assert inspector.strange == {"topic": 1}
    assert inspector.sorts == {("error", "wrong value", "question"): 1}
    assert (inspector.n_lines, inspector.n_records) == (4, 3)


def test_places_in_lists_are_counted_together() -> None:
    inspector = Inspector(r.RetrievedQuestion)
    docs = [{**DOC, "id": name, "text": ""} for name in "abc"]
    inspector.look(1, line(question(1, docs=docs, gold_passage_ids=[])))
    assert inspector.sorts == {("warning", "empty text", "docs[].text"): 3}


def _mutated(record: dict, draw: random.Random) -> dict:
    """The record with one part of it, however deep, left out or replaced."""
    made = json.loads(json.dumps(record))
    part = made
    while True:
        key = draw.choice([*part]) if isinstance(part, dict) else draw.randrange(len(part))
        if isinstance(part[key], dict | list) and part[key] and draw.random() < 0.7:
            part = part[key]
            continue
        if draw.random() < 0.3:
            del part[key]
        else:
            part[key] = draw.choice([None, 1, -1.5, "", "x", [], {}, True, ["x"], {"id": "x"}])
        return made


@pytest.mark.parametrize("kind", [k for k in r.KINDS.values() if k not in (r.Reject, r.QuestionScores)], ids=lambda k: k.__name__)
def test_an_error_is_said_of_just_the_lines_that_the_reader_rejects(tmp_path: Path, kind: type[r.Record]) -> None:
    draw = random.Random(7)
    (golden,) = (json.loads(file.read_bytes().splitlines()[0]) for file in GOLDEN if file.stem == kind.__name__)
    lines = [line(_mutated({**golden, "id": f"q-{number}"}, draw)) for number in range(300)]
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    rejected = [item.line for item in Reader(str(path), kind) if isinstance(item, r.Reject)]
    inspector = Inspector(kind)
    problems = [problem for number, row in enumerate(lines, 1) for problem in inspector.look(number, row)]
    assert sorted({problem.line for problem in problems if problem.severity == "error"}) == rejected
    assert 20 < len(rejected) < 290
    assert inspector.n_records == 300 - len(rejected)
