"""Ranking by a listwise model: windows that slide from the end of the list to its start, and the order that a reply gives.

RankGPT (Sun et al. 2023) and RankZephyr (Pradeep et al. 2023) let a model order 20 passages at a time. The window moves up by 10,
so that the best of one window meet the passages of the next, and a passage can rise from the last place to the first in one pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from dynamicrag_cli.core.identifiers import parse_selection

# `extra_text` is how `parse_selection` calls identifiers with `>` between them.
_CLEAN = frozenset({"ok", "extra_text", "unbracketed"})


@dataclass(frozen=True)
class Order:
    """All positions of a window, best first, of which the reply named `n_named`; `whole` if it named each once and no other."""

    positions: tuple[int, ...]
    n_named: int
    whole: bool


def windows(n_docs: int, size: int, stride: int) -> Iterator[tuple[int, int]]:
    """The windows of a list as (start, end), the last passages first; `stride` is at most `size`. None for a list of one."""
    end = n_docs
    while end > 1:
        start = max(end - size, 0)
        yield start, end
        if start == 0:
            return
        end -= stride


def parse_order(reply: str | None, n_docs: int, *, truncated: bool = False) -> Order:
    """Read `[2] > [1] > …`. Total: repeats and strange numbers are dropped, what was not named follows in its old order."""
    read = parse_selection(reply, n_docs, truncated=truncated)
    rest = (position for position in range(n_docs) if position not in read.positions)
    n_named = len(read.positions)
    return Order((*read.positions, *rest), n_named, whole=n_named == n_docs and read.status in _CLEAN)


def graded(order: list[int]) -> list[float]:
    """Relevance in (0, 1] from an order of all positions, best first: 1 - (rank - 1) / N, by position, shape (N,)."""
    scores = [0.0] * len(order)
    for place, position in enumerate(order):
        scores[position] = 1 - place / len(order)
    return scores
