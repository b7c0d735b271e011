import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.targets import TARGETS, evidence_target, gold_target, score_order, threshold_target
from tests.builders import doc, docs, labelled, quick

SCORES = [0.2, 0.9, 0.8, 0.9, 0.5]


def with_answer_in(names):
    return [doc(name, "It begins at Donaueschingen." if name in names else None) for name in "abcde"]


def test_score_order_keeps_retrieval_order_among_equals():
    assert score_order(SCORES) == [1, 3, 2, 4, 0]
    assert score_order([0.5] * 4) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("threshold", "own", "cap", "expected"),
    [
        (0.8, None, 15, (1, 3, 2)),
        (0.85, None, 15, (1, 3)),
        (None, 0.5, 15, (1, 3, 2, 4)),
        (None, None, 15, (1, 3, 2)),
        (0.9, 0.1, 15, (1, 3)),
        (0.0, 0.9, 15, (1, 3, 2, 4, 0)),
        (0.95, None, 15, ()),
        (0.0, None, 2, (1, 3)),
    ],
)
def test_threshold_target(threshold, own, cap, expected):
    assert threshold_target(labelled(SCORES, own), threshold, cap) == expected


@pytest.mark.parametrize(
    ("gold", "cap", "expected"),
    [
        (["b"], 15, (1,)),
        (["c"], 15, (1, 3, 2)),
        (["b", "e"], 15, (1, 3, 2, 4)),
        (["e", "missed"], 15, (1, 3, 2, 4)),
        (["missed"], 15, ()),
        ([], 15, ()),
        (["a"], 5, (1, 3, 2, 4, 0)),
        (["a"], 3, None),
        (["b", "a"], 3, None),
    ],
)
def test_evidence_target_is_the_shortest_prefix_with_all_gold_passages(gold, cap, expected):
    assert evidence_target(labelled(SCORES, gold_passage_ids=gold), None, cap) == expected


@pytest.mark.parametrize(
    ("gold", "cap", "expected"),
    [
        (["c"], 15, (2,)),
        (["e", "b", "d"], 15, (1, 3, 4)),
        (["e", "missed"], 15, (4,)),
        (["missed"], 15, ()),
        ([], 15, ()),
        (["a", "b", "c"], 3, (1, 2, 0)),
        (["a", "b", "c"], 2, None),
        (None, 15, None),
    ],
)
def test_gold_target_is_the_gold_passages_alone_in_score_order(gold, cap, expected):
    assert gold_target(labelled(SCORES, docs=with_answer_in("a"), gold_passage_ids=gold), None, cap) == expected


@pytest.mark.parametrize(("names", "expected"), [("c", (1, 3, 2)), ("ac", (1, 3, 2)), ("b", (1,)), ("", ())])
def test_evidence_target_is_the_shortest_prefix_with_an_answer(names, expected):
    assert evidence_target(labelled(SCORES, docs=with_answer_in(names)), None, 15) == expected


def test_gold_ids_outrank_answer_strings_as_long_as_retrieval_brought_one():
    record = labelled(SCORES, docs=with_answer_in("b"), gold_passage_ids=["c"])
    assert evidence_target(record, None, 15) == (1, 3, 2)
    missed = labelled(SCORES, docs=with_answer_in("d"), gold_passage_ids=["missed"])
    assert evidence_target(missed, None, 15) == (1, 3)
    needs_none = labelled(SCORES, docs=with_answer_in("d"), gold_passage_ids=[])
    assert evidence_target(needs_none, None, 15) == ()


def test_an_answer_beyond_the_cap_is_no_target():
    assert evidence_target(labelled(SCORES, docs=with_answer_in("a")), None, 4) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"answers": []},
        {"answers": ["yes"]},
        {"answers": ["No "]},
        {"answers": ["SUPPORTS"], "dataset": "fever"},
        {"answers": ["unknown"]},
    ],
)
def test_no_target_where_nothing_tells_the_evidence(fields):
    assert evidence_target(labelled(SCORES, **fields), None, 15) is None
    assert evidence_target(labelled(SCORES, gold_passage_ids=["b"], **fields), None, 15) == (1,)


@quick
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
    st.sets(st.integers(0, 7)),
    st.integers(1, 9),
    st.sampled_from(sorted(TARGETS)),
)
def test_target_is_a_prefix_of_the_score_order_or_the_gold_passages_in_it(scores, gold, cap, name):
    record = labelled(scores, gold_passage_ids=["abcdefgh"[place] for place in sorted(gold)])
    target = TARGETS[name](record, None, cap)
    order = [position for position in score_order(scores) if name != "gold" or position in gold]
    if target is None:
        assert len(order) > cap
        return
    assert target == tuple(order[: len(target)])
    assert len(target) <= cap
    shown = {record.docs[position].id for position in target}
    if name in ("evidence", "gold"):
        assert set(record.gold_passage_ids) & {candidate.id for candidate in record.docs} <= shown


def test_long_answers_tell_no_evidence():
    record = labelled(
        SCORES, dataset="eli5", answers=["Because light of short wavelength is scattered most, the sky looks blue."]
    )
    assert evidence_target(record, None, 15) is None


def test_short_answers_of_readings_are_evidence():
    pairs = [{"short_answers": ["Donaueschingen"]}]
    record = labelled(
        SCORES, docs=with_answer_in("c"), dataset="asqa", answers=["It rises in two places."], meta={"qa_pairs": pairs}
    )
    assert evidence_target(record, None, 15) == (1, 3, 2)


def test_yes_with_punctuation_is_no_span():
    assert evidence_target(labelled(SCORES, docs=docs("abcde"), answers=["Yes."]), None, 15) is None
