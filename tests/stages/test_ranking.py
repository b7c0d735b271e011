import pytest

from dynamicrag_cli.stages.ranking import evaluate_candidates
from tests.builders import question, retrieved

GOLD = {
    "found": question(id="found", gold_passage_ids=["b"]),
    "missing": question(id="missing", gold_passage_ids=["b"], dataset="nq"),
    "nothing": question(id="nothing", gold_passage_ids=[]),
}
RECORDS = [retrieved("ab", id="found"), retrieved("ab", id="nothing"), retrieved("a", id="stranger")]


def reciprocal(ranked, cutoffs):
    """A scripted metric: 1 / rank of the first wanted item."""
    assert cutoffs == [3]
    places = {key: [i for i, item in enumerate(found.items, 1) if item in found.wanted] for key, found in ranked.items()}
    return {key: {"mrr": 1 / found[0] if found else 0.0} for key, found in places.items()}


def test_report_counts_everything_that_is_in_no_mean():
    report, rows = evaluate_candidates(RECORDS, GOLD, "bm25", reciprocal, [3], "id")
    counts = {name: report[name] for name in ("questions", "not_judged", "missing", "not_in_gold", "mean_candidates")}
    assert counts == {"questions": 3, "not_judged": 1, "missing": 1, "not_in_gold": 1, "mean_candidates": 2.0}
    assert [(row.id, row.scores) for row in rows] == [("found", {"mrr": 0.5}), ("missing", {"mrr": 0.0})]
    assert report["scores"]["mrr"]["mean"] == 0.25
    assert {name: part["mrr"]["mean"] for name, part in report["by_dataset"].items()} == {"nq": 0.0, "qa": 0.5}


def test_nothing_says_what_should_be_found():
    with pytest.raises(
        ValueError, match=r"none of the 1 gold questions has gold_passage_ids.* type --match title or --match answer"
    ):
        evaluate_candidates(RECORDS, {"found": question(id="found")}, "bm25", reciprocal, [3], "id")


def test_candidates_of_another_data_set():
    with pytest.raises(ValueError, match="none of the 1 records belongs to a gold question"):
        evaluate_candidates(RECORDS[2:], GOLD, "bm25", reciprocal, [3], "id")
