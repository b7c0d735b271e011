import pytest

from dynamicrag_cli.core.labels import LABELLERS, answer_match_relevance, gold_relevance, has_answer, short_answers
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
    assert answer_match_relevance(retrieved(docs=candidates, answers=["black forest", "the Brigach"])) == [1.0, 1.0, 0.0, 0.0]
    assert answer_match_relevance(retrieved(docs=candidates, answers=["Brigach"])) == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("text", "answer", "held"),
    [
        ("the north-western coast", "north - western coast", True),
        ("the north-western coast", "northwestern coast", False),
        ("in office 1914–1918, then", "1918", True),
        ("3.5 million people", "35 million", False),
        ("Washington, D.C., is", "washington d c", True),
        ("The Guess Who recorded it", "The Who", False),
        ("Bertrand Traore\u0301 scored", "Traor\u00e9", True),
        ("Bertrand Traore\u0301 scored", "Traore", False),
        # A vowel sign is a mark and belongs to its letter.
        ("\u0926\u093f\u0932\u094d\u0932\u0940", "\u0926", False),
        ("Rome", "It is Rome", False),
        ("Forest Black", "Black Forest", False),
        ("3.5 million people", "5 million", True),
        ("anything", "", False),
        ("?!", "!", False),
    ],
)
def test_answers_are_matched_by_whole_tokens(text: str, answer: str, held: bool) -> None:
    assert has_answer(doc("a", text), [answer]) is held


def test_an_answer_without_a_letter_or_digit_is_in_no_passage_and_asked_of_none():
    assert short_answers(retrieved("ab", answers=["∞", "no", "8"])) == ["8"]


def test_answer_match_needs_answers():
    with pytest.raises(ValueError, match="no short answers"):
        answer_match_relevance(retrieved("ab", answers=[]))


def test_labellers_are_named_as_the_teachers():
    assert {"gold": gold_relevance, "answer-match": answer_match_relevance} == LABELLERS
