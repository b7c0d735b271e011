import math

import numpy as np
import pytest

from dynamicrag_cli.core import statistics
from dynamicrag_cli.core.statistics import BOTH_WAYS, UNIT, Estimate, estimate, paired


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


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 0.8316, 1.0), (0.0, 0.0, 0.1684), (0.5, 0.4158, 0.5842)])
def test_equal_scores_leave_room_for_what_was_not_seen(value, low, high):
    # Clopper-Pearson: 20 of 20 is [0.8316, 1].
    found = estimate([value] * 20, span=UNIT)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_a_sample_that_shows_both_ends_has_the_plain_bootstrap():
    values = [0.0, 0.0, 1.0] * 7
    assert estimate(values, span=UNIT) == estimate(values)


def test_one_win_and_no_loss_is_not_shown_to_be_no_loss():
    found = paired([1.0] + [0.0] * 47, [0.0] * 48, span=BOTH_WAYS)
    assert (found.better, found.worse, found.p_value) == (1, 0, 1.0)
    # Up to 7.4 % of all questions may be losses that 48 questions do not show.
    assert found.low == pytest.approx(1 / 48 - 0.0740 * (1 + 1 / 48), abs=1e-3)
    assert found.high == pytest.approx(paired([1.0] + [0.0] * 47, [0.0] * 48).high, abs=0.08)


def test_mean_of_nothing_is_not_a_number():
    found = estimate([])
    assert found.n == 0
    assert all(math.isnan(value) for value in (found.mean, found.low, found.high))


def test_seed_decides():
    values = [0.1, 0.9, 0.4, 0.35, 1.0, 0.0, 0.3, 0.77]
    assert estimate(values, 1) == estimate(values, 1)
    assert estimate(values, 1) != estimate(values, 2)


def test_many_equal_values_give_the_interval_of_every_single_draw():
    # 2 distinct values among 400 are drawn as counts, 400 distinct ones value by value: the interval must be the same.
    few = [0.0, 1.0] * 200
    many = [value + number * 1e-9 for number, value in enumerate(few)]
    one, other = estimate(few), estimate(many)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.01)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(5).binomial(1, 0.3, size=(300, 80)).astype(float)
    found = [estimate(draw) for draw in draws]
    assert 0.90 <= sum(part.low <= 0.3 <= part.high for part in found) / len(found) <= 0.985


def test_a_wider_level_is_wider():
    values = [0.0, 1.0] * 50
    assert estimate(values, level=0.99).low < estimate(values).low


def test_paired_difference_of_worked_example():
    # Five of eight pairs differ, all upwards: McNemar's exact p is 2 · 0.5^5.
    found = paired([1] * 8, [0] * 5 + [1] * 3)
    assert (found.mean, found.n) == (0.625, 8)
    assert found.p_value == pytest.approx(2 * 0.5**5)
    # p < 0.05 takes six of eight, all one way: four times out of five where 81.1 % of all questions differ so.
    share = found.detectable
    assert sum(math.comb(8, k) * share**k * (1 - share) ** (8 - k) for k in (6, 7, 8)) == pytest.approx(0.8)


def test_the_detectable_difference_of_many_differing_questions_is_by_the_spread():
    found = paired([1.0] * 300 + [0.0] * 300, [0.0] * 300 + [1.0] * 300)
    assert found.detectable == pytest.approx(2.8016 * math.sqrt(600 / 599) / math.sqrt(600), rel=1e-4)


def test_equal_systems_differ_by_nothing():
    found = paired([0.3, 0.7, 1.0], [0.3, 0.7, 1.0])
    assert (found.mean, found.low, found.high, found.p_value, found.detectable) == (0, 0, 0, 1, 0)
    found = paired([0.3] * 50, [0.3] * 50, span=BOTH_WAYS)
    assert (found.mean, found.low, found.high) == (0, pytest.approx(-0.0711, abs=1e-4), pytest.approx(0.0711, abs=1e-4))
    assert found.detectable == pytest.approx(0.153, abs=1e-3)


def test_rounding_is_no_difference():
    assert paired([0.1 + 0.2, 0.5], [0.3, 0.5]).p_value == 1.0


def test_small_samples_have_the_exact_p_of_all_flips():
    # |sum| of ±1 ±2 ±3 is 6 in two of eight cases.
    assert paired([1, 2, 3], [0, 0, 0]).p_value == pytest.approx(0.25)


@pytest.mark.parametrize("kind", ["few sizes", "many sizes"])
def test_the_quick_randomisation_test_agrees_with_all_flips_of_scipy(kind, monkeypatch):
    rng = np.random.default_rng(3)
    values = np.array([-1.0, 0.5, 0.5, 1.0] * 3) if kind == "few sizes" else rng.normal(size=12)
    exact = paired(values + 0.25, np.zeros(12)).p_value
    monkeypatch.setattr(statistics, "_EXACT", 0)
    monkeypatch.setattr(statistics, "_FEW", 12 if kind == "few sizes" else 1)
    assert 0.01 < exact < 0.9
    assert paired(values + 0.25, np.zeros(12)).p_value == pytest.approx(exact, abs=0.02)


def test_the_p_value_of_chance_is_uniform():
    rng = np.random.default_rng(4)
    found = [paired(a, b).p_value for a, b in rng.integers(0, 3, (60, 2, 60)).astype(float)]
    assert sum(p <= 0.05 for p in found) <= 0.15 * len(found)
    assert sum(p <= 0.5 for p in found) >= 0.3 * len(found)


def test_a_difference_of_the_detectable_size_is_found_four_times_of_five():
    rng = np.random.default_rng(6)
    size = paired(rng.normal(0, 1, 100), np.zeros(100)).detectable
    found = [paired(rng.normal(size, 1, 100), np.zeros(100)) for _ in range(40)]
    assert 0.65 <= sum(part.low > 0 for part in found) / len(found) <= 0.95


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="equal, non-empty"):
        paired([1.0], [])
    with pytest.raises(ValueError, match="equal, non-empty"):
        paired([], [])
