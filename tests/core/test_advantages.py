"""Advantages against worked examples."""

import numpy as np
import pytest

from dynamicrag_cli.core.advantages import ADVANTAGES, Window, discounted, prefix_lengths, utilities

NAN = float("nan")


def test_utilities_take_the_cost_of_what_was_read_and_stay_after_the_end() -> None:
    assert prefix_lengths(2, 4) == [1, 2, 2, 2]
    assert prefix_lengths(0, 2) == [0, 0]
    assert utilities([1.0, 3.0, 3.0, 3.0], [1, 2, 2, 2], 0.25).tolist() == [0.75, 2.5, 2.5, 2.5]


def test_gae_worked_out() -> None:
    """decay 1/2: A_3 = 4, A_2 = 2 + 2, A_1 = 1 + 2."""
    assert discounted(np.array([1.0, 2.0, 4.0]), 0.5).tolist() == [3.0, 4.0, 4.0]


def test_the_papers_advantage_worked_out() -> None:
    """gamma 1/2, lambda 1/2, r = (1, 3), V = (2, 1): delta = (1 + 1/2 - 2, 3 - 1) = (-1/2, 2), A = (-1/2 + 2/4, 2)."""
    made = ADVANTAGES["paper"](np.array([1.0, 3.0]), np.array([2.0, 1.0]), 0.5, 0.5)
    assert made.tolist() == [0.0, 2.0]


def test_the_difference_worked_out() -> None:
    """The same: delta = (-1, 2), A = (-1 + 2/4, 2); with lambda 0 the differences themselves."""
    utility, baseline = np.array([1.0, 3.0]), np.array([2.0, 1.0])
    assert ADVANTAGES["difference"](utility, baseline, 0.5, 0.5).tolist() == [-0.5, 2.0]
    assert ADVANTAGES["difference"](utility, baseline, 0.5, 0.0).tolist() == [-1.0, 2.0]


def test_the_reference_has_no_advantage_over_itself_but_in_the_papers_form_it_has() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        utility = rng.normal(size=4)
        assert ADVANTAGES["difference"](utility, utility, 0.99, 0.95).tolist() == [0.0] * 4
        assert np.abs(ADVANTAGES["paper"](utility, utility, 0.99, 0.95)).max() > 0


@pytest.mark.parametrize("name", sorted(ADVANTAGES))
def test_an_unknown_reward_leaves_out_the_steps_that_depend_on_it(name: str) -> None:
    utility, baseline = np.array([1.0, NAN, 2.0]), np.array([0.0, 1.0, 1.0])
    assert np.isnan(ADVANTAGES[name](utility, baseline, 0.99, 0.95)).tolist() == [True, True, False]


def test_a_factor_of_0_leaves_nothing_to_depend_on() -> None:
    utility, baseline = np.array([1.0, NAN, 2.0]), np.array([0.0, NAN, 1.0])
    for name in ADVANTAGES:
        assert ADVANTAGES[name](utility, baseline, 0.0, 0.95)[[0, 2]].tolist() == [1.0, 1.0]
    assert np.isnan(ADVANTAGES["difference"](utility, baseline, 0.99, 0.0)).tolist() == [False, True, False]


def test_the_window_normalises_to_mean_0_and_deviation_1() -> None:
    window = Window(100)
    values = np.array([1.0, 2.0, NAN, 6.0])
    window.add(values)
    made = window.normalise(values)
    assert np.nanmean(made) == pytest.approx(0)
    assert np.nanstd(made) == pytest.approx(1)
    assert np.isnan(made).tolist() == [False, False, True, False]


def test_the_window_slides() -> None:
    window = Window(2)
    window.add([100.0, -1.0, 1.0])
    assert window.normalise(np.array([2.0])).tolist() == [2.0]


def test_equal_rewards_give_no_advantage() -> None:
    window = Window(10)
    assert window.normalise(np.array([3.0])).tolist() == [0.0]
    window.add([0.3] * 5)
    assert window.normalise(np.array([0.3, NAN])).tolist()[0] == 0.0
