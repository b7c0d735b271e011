import msgspec
import pytest

from dynamicrag_cli.adapters.files.jsonl import Reader
from dynamicrag_cli.core.doors import admit
from dynamicrag_cli.core.records import (
    Candidate,
    ChatExample,
    LabelledQuestion,
    Passage,
    Question,
    Reject,
    RetrievedQuestion,
    SampledQuestion,
    extend,
)
from tests.builders import base, docs, labelled, rollout

RAW = {"id": "1", "question": "Why?"}
DOC = {"id": "p", "title": "T", "text": "x"}


@pytest.mark.parametrize(
    ("foreign", "kind", "ours"),
    [
        ({"_id": "1", "query": "Why?", "answer": "x"}, Question, {"id": "1", "question": "Why?", "answers": ["x"]}),
        ({"qid": "1", "claim": "Why?", "golden_answers": ["x"]}, Question, {"id": "1", "question": "Why?", "answers": ["x"]}),
        ({**RAW, "gold_ids": ["p"]}, Question, {"gold_passage_ids": ["p"]}),
        ({**RAW, "ctxs": [DOC]}, RetrievedQuestion, {"docs": [Candidate(**DOC)]}),
        ({**RAW, "candidates": [DOC]}, RetrievedQuestion, {"docs": [Candidate(**DOC)]}),
        (
            {**RAW, "contexts": [{"docid": "p", "contents": "x"}]},
            RetrievedQuestion,
            {"docs": [Candidate(id="p", title="", text="x")]},
        ),
        ({"docid": "p", "contents": "x"}, Passage, {"id": "p", "title": "", "text": "x"}),
    ],
)
def test_foreign_names_are_translated(foreign, kind, ours):
    record, strange = admit(foreign, kind)
    assert {name: getattr(record, name) for name in ours} == ours
    assert strange == []


def test_our_name_wins_over_a_foreign_one():
    record, strange = admit({**RAW, "answers": ["ours"], "answer": "theirs"}, Question)
    assert record.answers == ["ours"]
    assert strange == ["answer"]
    assert record.meta == {"answer": "theirs"}


def test_unknown_fields_go_to_meta_and_are_named():
    record, strange = admit({**RAW, "topic": "rivers", "hop": 2, "meta": {"kept": True}}, Question)
    assert record.meta == {"kept": True, "topic": "rivers", "hop": 2}
    assert strange == ["hop", "topic"]


def test_unknown_fields_of_a_candidate_are_dropped():
    record, strange = admit({**RAW, "ctxs": [{**DOC, "hasanswer": True, "score": 1.5}]}, RetrievedQuestion)
    assert record.docs == [Candidate(**DOC, score=1.5)]
    assert strange == []


def test_defaults():
    record, _ = admit(RAW, Question)
    assert (record.answers, record.dataset, record.split, record.gold_passage_ids) == ([], "qa", None, None)


def test_input_is_not_changed():
    raw = {"_id": "1", "query": "Why?", "topic": "t", "ctxs": [dict(DOC)]}
    before = msgspec.json.encode(raw)
    admit(raw, RetrievedQuestion)
    assert msgspec.json.encode(raw) == before


@pytest.mark.parametrize(
    ("raw", "kind", "message"),
    [
        ([], Question, "expected a JSON object, found list"),
        ({"id": "1"}, Question, "question"),
        ({**RAW, "question": " "}, Question, "the question is empty"),
        ({**RAW, "id": ""}, Question, r"\$\.id"),
        ({**RAW, "dataset": "popqs"}, Question, "unknown dataset 'popqs'; known: .*popqa"),
        ({**RAW, "answers": [1]}, Question, r"\$\.answers\[0\]"),
        ({**RAW, "docs": [DOC, DOC]}, RetrievedQuestion, "stands twice"),
        ({**RAW, "docs": ["p"]}, RetrievedQuestion, r"\$\.docs\[0\]"),
        ({**RAW, "docs": None}, RetrievedQuestion, r"\$\.docs"),
        (RAW, RetrievedQuestion, "docs"),
        ({"id": "p", "text": ""}, Passage, r"\$\.text"),
        (
            {"id": "1", "role": "r", "system": "", "user": "", "assistant": "", "mood": 1},
            ChatExample,
            r"unknown fields \['mood'\]",
        ),
    ],
)
def test_what_cannot_be_the_record_is_refused(raw, kind, message):
    with pytest.raises(ValueError, match=message):
        admit(raw, kind)


def read(tmp_path, kind, value):
    file = tmp_path / "in.jsonl"
    file.write_bytes(msgspec.json.encode(value) + b"\n")
    (item,) = Reader(str(file), kind)
    return item


@pytest.mark.parametrize("wrong", [{"dataset": ["nq"]}, {"meta": "note", "topic": "rivers"}])
def test_field_of_a_wrong_type_is_refused(wrong):
    with pytest.raises(ValueError, match=r"dataset|meta"):
        admit({**RAW, **wrong}, Question)


def test_unknown_dataset_is_a_reject_in_our_own_format_too(tmp_path):
    assert isinstance(read(tmp_path, Question, base(dataset="popqs")), Reject)


def test_relevance_is_carried_on(tmp_path):
    source = labelled([0.9, 0.1])
    record = read(tmp_path, RetrievedQuestion, source)
    made = extend(record, SampledQuestion, rollouts=[rollout("a")])
    assert made.relevance == source.relevance
    assert made.meta == {}


def test_labelled_question_is_read_whole(tmp_path):
    source = labelled([0.9, 0.1])
    assert read(tmp_path, LabelledQuestion, source) == source
    assert source.docs == docs("ab")
