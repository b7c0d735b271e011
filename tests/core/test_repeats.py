"""Repeated ids."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core import repeats
from dynamicrag_cli.core.repeats import Repeats
from tests.builders import quick


def found(names: list[str]) -> list[tuple[int, int]]:
    ledger = Repeats()
    for line, name in enumerate(names, start=10):
        ledger.add(name, line)
    assert [*ledger.lines] == [*range(10, 10 + len(names))]

    def look(rows: Sequence[int]) -> list[str]:
        return [names[row] for row in rows]

    return [*ledger.found(look)]


@quick
@given(st.lists(st.text("abc", max_size=2)))
def test_each_row_that_repeats_is_found_with_the_first_one(names: list[str]) -> None:
    assert found(names) == [(row, names.index(name)) for row, name in enumerate(names) if names.index(name) < row]


def test_equal_hashes_are_no_repetition(monkeypatch) -> None:
    monkeypatch.setattr(repeats, "hash", len, raising=False)
    assert found(["ab", "cd", "abc", "cd", "x", "ab"]) == [(3, 1), (5, 0)]


def test_only_ids_that_may_repeat_are_looked_at() -> None:
    ledger = Repeats()
    for name in ("a", "b", "c", "b"):
        ledger.add(name, 1)
    asked = []
    assert [*ledger.found(lambda rows: asked.extend(rows) or ["b"] * len(rows))] == [(3, 1)]
    assert asked == [1, 3]
