"""What a cross-encoder is taught from."""

import pytest

from dynamicrag_cli.core.reranking import kept_positions, ranked_example
from tests.builders import labelled, retrieved


@pytest.mark.parametrize(
    ("labels", "n", "kept"),
    [
        ([0, 1, 0, 0.4, 0.5], 2, (0, 1, 2, 4)),
        ([0, 0, 0], 2, (0, 1)),
        ([1, 1], 2, (0, 1)),
        ([0, 1], 0, (1,)),
        ([], 3, ()),
    ],
)
def test_all_positives_and_the_first_negatives(labels, n, kept) -> None:
    assert kept_positions(labels, n) == kept


def test_an_example_by_teacher_gold_and_answer() -> None:
    record = labelled([0.2, 0.9, 0.1], gold_passage_ids=["a"], answers=["text of c"])
    made = ranked_example(record, "relevance", 1)
    assert (made.passages, made.labels, made.n_positive) == (("Title a Text of a.", "Title b Text of b."), (0.2, 0.9), 1)
    assert ranked_example(record, "gold", 1).labels == (1.0, 0.0)
    assert ranked_example(record, "answer-match", 1).labels == (0.0, 1.0)


@pytest.mark.parametrize(("labels", "words"), [("relevance", "no relevance"), ("gold", "no gold_passage_ids")])
def test_what_is_missing_is_named(labels: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ranked_example(retrieved("ab"), labels, 2)
    with pytest.raises(ValueError, match="no candidates"):
        ranked_example(retrieved(""), labels, 2)
