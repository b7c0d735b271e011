"""What manifests and reports say, read with suspicion."""

import math

import pytest

from dynamicrag_cli.core.runs import (
    STEPS,
    Score,
    StageFacts,
    amount,
    finite,
    flow,
    metric_order,
    same_reason,
    stage_facts,
    system_results,
)


def test_the_facts_of_a_stage_with_one_file_and_with_several() -> None:
    facts = stage_facts("sample", {"counts": {"in": 5, "out": 4, "rejected": 1}, "seconds": 2, "notes": {"ok": 4}}, {"x": 1})
    assert facts == StageFacts("sample", 5, {"": 4}, 1, {"x": 1}, {"ok": 4}, 2.0)
    assert stage_facts("bc", {"counts": {"in": 5, "out": {"a": 1, "b": 2}}}, {}).out == {"a": 1, "b": 2}
    assert stage_facts("x", {}, {}) == StageFacts("x")


def test_a_loss_that_is_no_number_is_left_out_of_the_curve() -> None:
    assert stage_facts("train", {"loss": [[1, 0.5], [2, math.nan], [3, 0.25]]}, {}).loss == ((1.0, 0.5), (3.0, 0.25))


@pytest.mark.parametrize("manifest", [{"counts": 3}, {"counts": {"in": "many"}}, {"notes": ["x"]}, {"loss": [[1]]}])
def test_what_is_no_manifest(manifest: dict) -> None:
    with pytest.raises(ValueError, match="not the manifest of a stage"):
        stage_facts("x", manifest, {})


def test_reasons_that_differ_only_in_names_are_the_same() -> None:
    assert same_reason("the id 'q-1' was met before") == same_reason('the id "q-22" was met before')
    assert same_reason("3 scores for 4 candidates") == same_reason("30 scores for 41 candidates")
    assert same_reason("no answers") != same_reason("no candidates")


@pytest.mark.parametrize(("value", "expected"), [(1, 1.0), (0.5, 0.5), (math.nan, None), (math.inf, None), (True, None), ("1", None), (None, None)])  # fmt: skip
def test_finite(value: object, expected: float | None) -> None:
    assert finite(value) == expected


def test_a_score_that_is_nan_is_left_out_and_an_interval_that_is_missing_is_the_mean() -> None:
    scores = {"headline": {"mean": math.nan}, "em": {"mean": 0.5}, "f1": {"mean": 0.5, "low": 0.25, "high": 0.75}, "odd": 3}
    (row,) = system_results({"systems": [{"system": "a", "scores": scores, "mean_passages": math.nan, "missing": 2}]})
    assert row.scores == {"em": Score(0.5, 0.5, 0.5), "f1": Score(0.5, 0.25, 0.75)}
    assert (row.passages, row.missing, row.questions, row.shares["none_share"]) == (None, 2, None, None)


@pytest.mark.parametrize("report", [None, [], {}, {"systems": 3}])
def test_what_is_no_report(report: object) -> None:
    with pytest.raises(ValueError, match="not a report of drag eval"):
        system_results(report)


def test_known_metrics_come_first_and_unknown_ones_are_kept() -> None:
    scores = {name: {"mean": 0.5} for name in ("claim_recall", "em", "headline")}
    assert metric_order(system_results({"systems": [{"system": "a", "scores": scores}]})) == ["headline", "em", "claim_recall"]


def test_records_in_words() -> None:
    assert flow(StageFacts("x", 5, {"a": 1, "b": 3}, 1)) == "5 → 4, 1 rejected"
    assert flow(StageFacts("train", 5)) == "5"
    assert [amount(value) for value in (0.345, 9.99, 12.4, 1345.2)] == ["0.34", "10", "12", "1345"]


def test_every_stage_has_a_target_in_the_makefile() -> None:
    from tests.conftest import ROOT

    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [step for step in STEPS if f"\n{step.target}: $(RUN)/" not in rules] == []
    assert [step for step in STEPS if f"$(RUN)/{step.place}" not in rules] == []
