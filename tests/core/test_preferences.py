import pytest

from dynamicrag_cli.core.preferences import AnswerChoice, Choice, Ranked, generator_choice, ranked_rollouts, reranker_choice
from tests.builders import rewarded, rollout


def ranks(*items):
    return [Ranked(rollout(selection, answer), reward) for selection, answer, reward in items]


def ranked_of(rollouts, totals):
    return [("".join(item.rollout.selection), item.reward) for item in ranked_rollouts(rewarded(rollouts, totals), totals)]


def is_right(text):
    return text == "right"


def test_best_first():
    assert ranked_of([rollout("a"), rollout("b"), rollout("")], [0.2, 0.9, 0.5]) == [("b", 0.9), ("", 0.5), ("a", 0.2)]


def test_tie_goes_to_fewer_passages_then_to_the_earlier():
    rollouts = [rollout("abc"), rollout("b"), rollout("a")]
    assert ranked_of(rollouts, [0.5, 0.5, 0.5]) == [("b", 0.5), ("a", 0.5), ("abc", 0.5)]


def test_malformed_and_unrewarded_rollouts_are_left_out():
    rollouts = [rollout("a", status="extra_text"), rollout("b"), rollout("c"), rollout("", status="failed", answer=None)]
    assert ranked_of(rollouts, [0.9, None, 0.1, None]) == [("c", 0.1)]


def test_equal_selections_are_one_but_order_counts():
    rollouts = [rollout("ab"), rollout("ab"), rollout("ba")]
    assert ranked_of(rollouts, [0.3, 0.3, 0.1]) == [("ab", 0.3), ("ba", 0.1)]


def test_reranker_choice_is_best_against_worst():
    ranked = ranks(("a", "x", 0.9), ("b", "x", 0.5), ("c", "x", 0.2))
    choice = reranker_choice(ranked, 0.1)
    assert (choice.best, choice.worst, choice.reason) == (ranked[0], ranked[2], "kept")
    assert choice.margin == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("rewards", "min_margin", "reason"),
    [
        ([], 0.1, "no usable rollout"),
        ([0.9], 0.1, "all selections equal"),
        ([0.9, 0.85], 0.1, "margin too small"),
        ([0.5, 0.5], 0.0, "margin too small"),
        ([0.6, 0.5], 0.1, "kept"),
        ([0.30000000000000004, 0.2], 0.1, "kept"),
        ([0.3, 0.2], 0.1, "kept"),
    ],
)
def test_reranker_choice_reason(rewards, min_margin, reason):
    choice = reranker_choice(ranks(*zip("abc", "xyz", rewards, strict=False)), min_margin)
    assert choice.reason == reason
    assert (choice.best is None) == (choice.worst is None) == (reason != "kept")


def test_no_choice_has_no_margin():
    assert Choice(reason="none").margin == 0.0


@pytest.mark.parametrize(
    ("answers", "gold", "expected"),
    [
        (["right", "wrong"], ["gold"], AnswerChoice("right", "wrong")),
        (["right", "less wrong", "most wrong"], ["gold"], AnswerChoice("right", "most wrong")),
        (["right", "wrong", "right"], ["gold"], AnswerChoice("right", "wrong")),
        (["wrong", "other"], ["gold", "alias"], AnswerChoice("gold", "other")),
        ([None, "other"], ["gold"], AnswerChoice("gold", "other")),
        (["right", "right"], ["gold"], AnswerChoice(reason="no wrong answer")),
        (["wrong", "right"], ["gold"], AnswerChoice(reason="no wrong answer")),
        (["right", " ", "", None], ["gold"], AnswerChoice(reason="no wrong answer")),
        (["wrong"], ["gold"], AnswerChoice(reason="no wrong answer")),
        (["wrong", "other"], [], AnswerChoice(reason="no gold answer")),
        ([], ["gold"], AnswerChoice(reason="no usable rollout")),
    ],
)
def test_generator_choice(answers, gold, expected):
    ranked = ranks(
        *[(selection, answer, 1.0 - place / 10) for place, (selection, answer) in enumerate(zip("abcd", answers, strict=False))]
    )
    assert generator_choice(ranked, gold, is_right) == expected
