"""Ids that stand twice among millions, found without holding the ids."""

from array import array
from collections.abc import Callable, Iterator, Sequence

import numpy as np


class Repeats:
    """Collects ids row by row and tells at the end which rows repeat an earlier one.

    An id costs 16 bytes (a hash and the line where it stood), and 8 more while they are sorted: 0.5 GB for 21 million. A set of
    the strings would take several times that.
    """

    def __init__(self) -> None:
        self._hashes = array("q")
        self.lines = array("Q")

    def add(self, name: str, line: int) -> None:
        """Note the id of the next row, and the line where it stood."""
        self._hashes.append(hash(name))
        self.lines.append(line)

    def found(self, names: Callable[[Sequence[int]], Sequence[str]]) -> Iterator[tuple[int, int]]:
        """Each row whose id was met before, with the first row that has it; `names` gives the ids of some rows.

        Only ids of equal hash are looked at, so that a collision of hashes is no repetition.
        """
        hashes = np.array(self._hashes, dtype=np.int64)
        hashes.sort()
        shared = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        rows = np.flatnonzero(np.isin(np.array(self._hashes, dtype=np.int64), shared)).tolist() if len(shared) else []
        first: dict[str, int] = {}
        for row, name in zip(rows, names(rows), strict=True):
            if (earlier := first.setdefault(name, row)) != row:
                yield row, earlier
