"""Pictures for a terminal."""

import pytest

from dynamicrag_cli.cli.bars import bar, flow_bar, interval_bar
from dynamicrag_cli.core.runs import Score, StageFacts


def test_a_point_stands_within_its_interval() -> None:
    assert interval_bar(Score(0.5, 0.25, 0.75), width=9) == "··━━●━━··"
    assert interval_bar(Score(0.0, 0.0, 0.0), width=5) == "●····"
    assert interval_bar(Score(1.0, 1.0, 1.0), width=5) == "····●"
    assert interval_bar(Score(1.5, -1.0, 2.0), width=5) == "━━━━●"


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (0.001, 1), (5, 5), (10, 10)])
def test_a_bar_is_as_long_as_its_share(value: float, expected: int) -> None:
    assert len(bar(value, 10, width=10)) == expected


def test_nothing_has_no_bar() -> None:
    assert bar(0, 0) == bar(1, 0) == ""


def test_rejects_stand_behind_what_was_written() -> None:
    assert flow_bar(StageFacts("x", 10, {"a": 2, "b": 3}, 5), 10) == "█" * 20 + "×" * 20
    assert flow_bar(StageFacts("train", 10), 10) == "█" * 40
