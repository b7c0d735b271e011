import pytest

from dynamicrag_cli.core.records import Reward, RewardedQuestion
from dynamicrag_cli.stages.reward_report import reward_report
from tests.builders import base, docs, rollout


def record(rows, **fields):
    """Rollouts as (selection, answer, total, terms)."""
    return RewardedQuestion(
        **base(
            docs=docs("abcd"),
            rollouts=[rollout(selection, answer) for selection, answer, _, _ in rows],
            rewards=[Reward(total=total, terms=terms) for _, _, total, terms in rows],
            **fields,
        )
    )


ROWS = [
    ("a", "one", 1.0, {"em": 1.0, "judge": 0.9}),
    ("ab", "two words", 0.5, {"em": 0.0, "judge": 0.5}),
    ("abc", "three more words", 0.0, {"em": 1.0, "judge": 0.4}),
    ("", "x", None, {"em": 0.0, "judge": None}),
]


def test_terms_have_mean_spread_and_failures():
    report = reward_report([record(ROWS)], "r")
    assert (report["system"], report["questions"], report["rollouts"]) == ("r", 1, 4)
    assert report["terms"]["em"] == {"mean": 0.5, "sd": 0.5, "n": 4, "failed": 0}
    assert report["terms"]["judge"] == {"mean": pytest.approx(0.6), "sd": pytest.approx((0.14 / 3) ** 0.5), "n": 3, "failed": 1}
    assert report["terms"]["total"] == {"mean": 0.5, "sd": pytest.approx((1 / 6) ** 0.5), "n": 3, "failed": 1}


def test_correlation_within_questions_is_told_from_that_between_them():
    # Within each question more passages pay less; the question with more passages pays more on the whole.
    low = record([("a", "x", 0.2, {}), ("ab", "x", 0.1, {})])
    high = record(
        [("abc", "x", 0.9, {}), ("abcd", "x", 0.8, {})],
    )
    found = reward_report([low, high], "r")["correlation"]
    assert found["k"]["within"] == pytest.approx(-1)
    # By hand: k 1 2 3 4, totals .2 .1 .9 .8: covariance sum 1.3, squares 5 and .5.
    assert found["k"]["all"] == pytest.approx(1.3 / (5 * 0.5) ** 0.5)
    assert found["answer_words"] == {"all": None, "within": None}


def test_disagreement_of_judge_and_em():
    assert reward_report([record(ROWS)], "r")["judge_against_em"] == {"n": 3, "judge_only": 1 / 3, "em_only": 1 / 3}
    assert reward_report([record([("a", "x", 1.0, {"em": 1.0})])], "r")["judge_against_em"] is None


def test_nothing():
    report = reward_report([], "r")
    assert (report["terms"], report["correlation"]["k"], report["rollouts"]) == ({}, {"all": None, "within": None}, 0)
