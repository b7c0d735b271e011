"""Lists drawn without replacement, with a STOP: against enumeration of all lists."""

import itertools
import math

import numpy as np
import pytest

from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.policy import (
    STOP,
    Bounds,
    balanced_stop,
    chosen,
    draw,
    log_probabilities,
    most_likely,
    parse_bounds,
    stop_at,
)

SCORES = np.array([0.3, -1.2, 2.0, 0.3, 0.9])
STOPS = [0.5, -0.4, 1.5]


def all_lists(n_docs: int, bounds: Bounds) -> list[list[int]]:
    """Every list of actions, by the rules as a person would say them."""
    most, least = min(bounds.most, n_docs), min(bounds.least, n_docs)
    made = []
    for length in range(least if bounds.least < bounds.most else most, most + 1):
        for order in itertools.permutations(range(n_docs), length):
            made.append([*order, STOP] if length < most else [*order])
    return made


def by_hand(scores, stops, actions, bounds: Bounds) -> float:
    """The product of the softmaxes, written out."""
    left, product = list(range(len(scores))), 1.0
    for step, action in enumerate(actions):
        weights = {place: math.exp(scores[place]) for place in left}
        if bounds.least < bounds.most and step >= min(bounds.least, len(scores)):
            weights[STOP] = math.exp(stops[min(step, len(stops) - 1)])
        product *= weights[action] / sum(weights.values())
        if action != STOP:
            left.remove(action)
    return product


@pytest.mark.parametrize("n_docs", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("bounds", [Bounds(3, 3), Bounds(0, 3), Bounds(1, 2), Bounds(2, 5), Bounds(0, 1)], ids=str)
def test_log_probabilities_against_enumeration(n_docs: int, bounds: Bounds) -> None:
    scores = SCORES[:n_docs]
    lists = all_lists(n_docs, bounds)
    found = [math.exp(log_probabilities(scores, STOPS, actions, bounds).sum()) for actions in lists]
    assert found == pytest.approx([by_hand(scores, STOPS, actions, bounds) for actions in lists], abs=1e-12)
    assert sum(found) == pytest.approx(1.0, abs=1e-12)


def test_two_passages_worked_out() -> None:
    """z = (ln 2, 0), b = ln 3: STOP at once has 3/6; the first then STOP has 2/6 * 3/4."""
    scores, stops, bounds = np.log([2.0, 1.0]), [math.log(3)], Bounds(0, 2)
    assert np.exp(log_probabilities(scores, stops, [STOP], bounds)) == pytest.approx([1 / 2])
    assert np.exp(log_probabilities(scores, stops, [0, STOP], bounds)) == pytest.approx([1 / 3, 3 / 4])
    assert np.exp(log_probabilities(scores, stops, [1, 0], bounds)) == pytest.approx([1 / 6, 2 / 5])


@pytest.mark.parametrize("bounds", [Bounds(2, 2), Bounds(0, 2)], ids=str)
def test_lists_are_drawn_as_often_as_their_probability_says(bounds: Bounds) -> None:
    rng, scores, n = np.random.default_rng(0), SCORES[:3], 20000
    drawn = [tuple(draw(scores, STOPS, bounds, rng)) for _ in range(n)]
    for actions in all_lists(3, bounds):
        expected = by_hand(scores, STOPS, actions, bounds)
        assert drawn.count(tuple(actions)) / n == pytest.approx(expected, abs=5 * math.sqrt(expected * (1 - expected) / n))


def test_the_greedy_list_stops_when_stopping_is_likelier_than_going_on() -> None:
    scores = np.log([6.0, 3.0, 1.0])  # sums of what is left: 10, 4, 1
    stops = [math.log(3.5)]
    assert most_likely(scores, stops, Bounds(0, 3)) == [0, 1, STOP]
    assert most_likely(scores, stops, Bounds(0, 3), bias=math.log(4.1 / 3.5)) == [0, STOP]
    assert most_likely(scores, stops, Bounds(0, 3), bias=9) == [STOP]
    assert most_likely(scores, stops, Bounds(1, 3), bias=9) == [0, STOP]
    assert most_likely(scores, stops, Bounds(0, 3), bias=-9) == [0, 1, 2]
    assert most_likely(scores, stops, Bounds(2, 2), bias=9) == [0, 1]
    assert most_likely(np.array([1.0, 2.0, 2.0]), [], Bounds(3, 3)) == [1, 2, 0]


def test_no_candidate_one_candidate_and_fewer_than_k() -> None:
    rng = np.random.default_rng(0)
    assert draw(np.array([]), STOPS, Bounds(0, 3), rng) == most_likely(np.array([]), STOPS, Bounds(0, 3)) == []
    assert draw(np.array([4.0]), [], Bounds(3, 3), rng) == [0]
    assert log_probabilities(np.array([4.0]), [], [0], Bounds(3, 3)) == pytest.approx([0.0])
    assert sorted(draw(SCORES[:2], STOPS, Bounds(2, 5), rng)) == [0, 1]


def test_a_stop_score_goes_on_beyond_those_learned() -> None:
    assert [stop_at(STOPS, step) for step in (0, 2, 7)] == [0.5, 1.5, 1.5]
    assert stop_at([], 0) == -math.inf


@pytest.mark.parametrize("bounds", [Bounds(0, 1), Bounds(0, 3), Bounds(1, 3), Bounds(2, 4)], ids=str)
@pytest.mark.parametrize("level", [0.0, -7.0])
def test_a_balanced_stop_makes_every_length_as_likely(bounds: Bounds, level: float) -> None:
    """Over all lists of one question with equal scores, whatever their level."""
    scores = np.full(5, level)
    stop = balanced_stop([scores], bounds)
    shares = {}
    for n in range(bounds.least, bounds.most + 1):
        lists = [[*taken, *([STOP] if n < bounds.most else [])] for taken in itertools.permutations(range(5), n)]
        shares[n] = sum(math.exp(log_probabilities(scores, stop, actions, bounds).sum()) for actions in lists)
    assert shares == pytest.approx(dict.fromkeys(shares, 1 / len(shares)))


def test_a_balanced_stop_is_so_over_questions_whose_scores_have_other_levels() -> None:
    rng = np.random.default_rng(0)
    tables = [rng.normal(rng.normal(0, 3), 1, size=10) for _ in range(2000)]
    stop = balanced_stop(tables, Bounds(0, 3))
    lengths = [len(chosen(draw(scores, stop, Bounds(0, 3), rng))) for scores in tables]
    assert np.bincount(lengths) / len(lengths) == pytest.approx(0.25, abs=0.04)


def test_a_balanced_stop_where_there_are_fewer_candidates_than_k() -> None:
    _, second, third = balanced_stop([np.array([1.0, 4.0]), np.array([2.0])], Bounds(0, 3))
    assert (second, third) == (pytest.approx(1 - math.log(2)), second)  # one passage is left, odds of 1 to 2
    assert balanced_stop([], Bounds(0, 2)) == [0.0, 0.0]
    assert balanced_stop([np.array([1.0])], Bounds(2, 2)) == []


def test_chosen_leaves_stop_away() -> None:
    assert (chosen([2, 0, STOP]), chosen([STOP])) == ((2, 0), ())


@pytest.mark.parametrize(("text", "bounds"), [("3", Bounds(3, 3)), ("0:5", Bounds(0, 5)), (" 2:2 ", Bounds(2, 2))])
def test_parse_bounds(text: str, bounds: Bounds) -> None:
    assert parse_bounds(text) == bounds
    assert parse_bounds(str(bounds)) == bounds


@pytest.mark.parametrize("text", ["", "0", "0:0", "5:2", "a", ":3", "3:", "-1:2", "1:2:3"])
def test_wrong_bounds(text: str) -> None:
    with pytest.raises(UsageError, match="such as 0:5"):
        parse_bounds(text)
