import math

import pytest

from dynamicrag_cli.core.statistics import Estimate, estimate


def test_interval_of_a_fair_coin():
    # Standard error of a mean of 100 halves: 0.05; the 95 % interval is about 0.5 ± 0.098.
    found = estimate([0.0, 1.0] * 50)
    assert (found.mean, found.n) == (0.5, 100)
    assert found.low == pytest.approx(0.402, abs=0.025)
    assert found.high == pytest.approx(0.598, abs=0.025)


def test_interval_narrows_with_more_questions():
    few, many = estimate([0.0, 1.0] * 10), estimate([0.0, 1.0] * 200)
    assert many.high - many.low < (few.high - few.low) / 2


def test_interval_holds_the_mean_and_stays_within_the_values():
    values = [0.1, 0.9, 0.4, 0.4, 1.0, 0.0, 0.3]
    found = estimate(values)
    assert found.mean == pytest.approx(3.1 / 7)
    assert min(values) <= found.low < found.mean < found.high <= max(values)


def test_interval_of_rare_successes_stays_above_0():
    found = estimate([0.0] * 19 + [1.0])
    assert found.low == 0.0
    assert 0.1 <= found.high <= 0.2


def test_two_values_span_the_interval():
    assert estimate([0.0, 1.0]) == Estimate(0.5, 0.0, 1.0, 2)


@pytest.mark.parametrize("values", [[0.7], [0.7] * 5])
def test_interval_without_spread_is_the_mean(values):
    mean = pytest.approx(0.7)
    assert estimate(values) == Estimate(mean, mean, mean, len(values))


def test_mean_of_nothing_is_not_a_number():
    found = estimate([])
    assert found.n == 0
    assert all(math.isnan(value) for value in (found.mean, found.low, found.high))


def test_seed_decides():
    values = [0.1, 0.9, 0.4, 0.35, 1.0, 0.0, 0.3, 0.77]
    assert estimate(values, 1) == estimate(values, 1)
    assert estimate(values, 1) != estimate(values, 2)
