"""The Pareto front: what nothing else beats at both accuracy and cost."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each (value, cost) is on the front: no other has as much value for as little cost and is better in one of them."""
    return [
        not any(value >= own_value and cost <= own_cost and (value > own_value or cost < own_cost) for value, cost in points)
        for own_value, own_cost in points
    ]
