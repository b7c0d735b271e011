import re
from pathlib import Path

import msgspec
import pytest

from dynamicrag_cli.core import records as r
from tests.builders import base, docs, labelled, prediction, question, rewarded, rollout, sampled

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "records").glob("*.jsonl"))
FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_golden_record(file):
    lines = file.read_bytes().splitlines(keepends=True)
    assert lines
    for line in lines:
        record = msgspec.json.decode(line, type=r.KINDS[file.stem])
        assert msgspec.json.encode(record) + b"\n" == line


def test_every_kind_has_a_golden_record():
    assert {file.stem for file in GOLDEN} == set(r.KINDS)


def test_examples_of_the_docs_are_records():
    block = re.search(r"### Examples\n\n```json\n(.*?)```", FORMATS.read_text(encoding="utf-8"), re.DOTALL)
    lines = block.group(1).encode().splitlines()
    for line, kind in zip(lines, (r.Question, r.Rollout, r.Reward), strict=True):
        assert msgspec.json.encode(msgspec.json.decode(line, type=kind)) == line


def test_all_rules_that_a_record_breaks_are_named_together():
    with pytest.raises(
        r.BrokenRulesError, match=r"the question is empty; unknown dataset 'zz'; .*stands twice.*: 'a'$"
    ) as caught:
        r.RetrievedQuestion(**base(question=" ", dataset="zz", docs=docs("aab")))
    assert [field for field, _ in caught.value.rules] == ["question", "dataset", "docs"]


def test_schema_version():
    assert r.SCHEMA_VERSION == 1


def test_optional_fields_that_are_not_set_are_left_out():
    assert msgspec.json.decode(msgspec.json.encode(question())) == base()
    assert msgspec.json.decode(msgspec.json.encode(rollout("", answer=None))) == {"selection": [], "status": "none"}


def test_known_absence_of_gold_is_kept():
    line = msgspec.json.encode(question(gold_passage_ids=[]))
    assert b'"gold_passage_ids":[]' in line
    assert msgspec.json.decode(line, type=r.Question).gold_passage_ids == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (r.Question, base(strange=1)),
        (r.Question, base(id="")),
        (r.Question, base(question="\n ")),
        (r.Question, {"id": "1", "question": "Why?", "answers": []}),
        (r.RetrievedQuestion, base(docs=[{"id": "a", "title": "", "text": ""}] * 2)),
        (r.Relevance, {"teacher": "t", "model": None, "scores": [1.01]}),
        (r.Relevance, {"teacher": "t", "model": None, "scores": [-0.01]}),
        (r.QuestionScores, {"id": "1", "system": "s", "dataset": "qa", "scores": {"em": 2.0}}),
        (r.Passage, {"id": "p", "title": "t", "text": ""}),
        (r.PreferencePair, {**dict.fromkeys(("id", "role", "system", "user", "chosen", "rejected"), "x"), "margin": 1.0}),
    ],
)
def test_wrong_record_is_refused(kind, value):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(value), type=kind)


def test_one_relevance_score_per_candidate():
    with pytest.raises(ValueError, match="1 scores for 2 candidates"):
        labelled([0.5], docs=docs("ab"))


@pytest.mark.parametrize("make", [lambda made: sampled([made]), prediction])
@pytest.mark.parametrize("selection", ["az", "aa"])
def test_rollout_selects_candidates_once(make, selection):
    with pytest.raises(ValueError, match="rollout 0 selects a passage twice or one that is not a candidate"):
        make(rollout(selection))


def test_one_finite_reward_per_rollout():
    with pytest.raises(ValueError, match="2 rewards for 1 rollouts"):
        rewarded([rollout("a")], [0.1, 0.2])
    with pytest.raises(ValueError, match="not finite"):
        rewarded([rollout("a")], [float("inf")])


def test_extend_keeps_shared_fields_and_drops_the_others():
    source = labelled([0.9, 0.1], meta={"topic": "rivers"}, split="dev", gold_passage_ids=["a"])
    made = r.extend(source, r.SampledQuestion, rollouts=[rollout("a")])
    assert made.relevance == source.relevance
    assert (made.id, made.meta, made.split, made.gold_passage_ids) == ("q-1", {"topic": "rivers"}, "dev", ["a"])
    assert r.extend(made, r.Question) == r.extend(source, r.Question)


def test_records_are_frozen():
    with pytest.raises(AttributeError):
        question().id = "other"


def test_field_names_are_in_file_order():
    assert r.field_names(r.Question) == ("id", "question", "answers", "dataset", "split", "gold_passage_ids", "meta")
    assert list(msgspec.json.decode(msgspec.json.encode(labelled([0.5])))) == [
        "id",
        "question",
        "answers",
        "dataset",
        "docs",
        "relevance",
    ]
