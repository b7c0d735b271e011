"""The data sets that sentence-transformers' losses expect."""

from dynamicrag_cli.adapters.rrpo.supervised import as_lists, as_pairs
from dynamicrag_cli.core.reranking import RankedExample

EXAMPLES = [RankedExample("q", ("a", "b"), (1.0, 0.0)), RankedExample("r", ("c",), (0.4,))]


def test_a_row_per_passage() -> None:
    made = as_pairs(EXAMPLES)
    assert made.column_names == ["question", "passage", "label"]
    assert [tuple(row.values()) for row in made] == [("q", "a", 1.0), ("q", "b", 0.0), ("r", "c", 0.4)]


def test_a_row_per_question() -> None:
    made = as_lists(EXAMPLES)
    assert made.column_names == ["question", "passages", "labels"]
    assert [tuple(row.values()) for row in made] == [("q", ["a", "b"], [1.0, 0.0]), ("r", ["c"], [0.4])]
