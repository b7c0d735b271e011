import pytest

from dynamicrag_cli.core.labels import LABELLERS, answer_match_relevance, gold_relevance
from tests.builders import doc, retrieved


def test_gold_relevance():
    assert gold_relevance(retrieved("abc", gold_passage_ids=["c", "missed"])) == [0.0, 0.0, 1.0]
    assert gold_relevance(retrieved("abc", gold_passage_ids=[])) == [0.0, 0.0, 0.0]


def test_unknown_gold_is_not_no_gold():
    with pytest.raises(ValueError, match="gold_passage_ids"):
        gold_relevance(retrieved("abc"))


def test_answer_match_looks_at_title_and_text():
    candidates = [
        doc("a", "It rises in the Black Forest."),
        doc("b", title="Black Forest"),
        doc("c", "Black forests"),
        doc("d", "Brigach"),
    ]
    assert answer_match_relevance(retrieved(docs=candidates, answers=["black forest", "the Brigach"])) == [1.0, 1.0, 0.0, 1.0]


def test_answer_match_needs_answers():
    with pytest.raises(ValueError, match="no short answers"):
        answer_match_relevance(retrieved("ab", answers=[]))


def test_labellers_are_named_as_the_teachers():
    assert {"gold": gold_relevance, "answer-match": answer_match_relevance} == LABELLERS
