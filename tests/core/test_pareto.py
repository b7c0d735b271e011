from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.pareto import pareto_front
from tests.builders import quick

points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8)


def test_front():
    # (value, cost): the third is as good as the second and dearer, the fourth is beaten at both.
    assert pareto_front([(1, 0), (3, 2), (3, 3), (0, 1)]) == [True, True, False, False]


def test_equal_points_stay_together():
    assert pareto_front([(1, 1), (1, 1)]) == [True, True]
    assert pareto_front([]) == []


@quick
@given(points)
def test_whatever_is_off_the_front_is_beaten_by_something_on_it(found):
    front = pareto_front(found)
    kept = [point for point, on in zip(found, front, strict=True) if on]
    assert bool(kept) == bool(found)
    for (value, cost), on in zip(found, front, strict=True):
        assert on != any(v >= value and c <= cost and (v, c) != (value, cost) for v, c in kept)
