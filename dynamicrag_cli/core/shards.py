"""Shards: disjoint parts of an input, by record id, for workers that share only files."""

from dataclasses import dataclass

from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.splits import unit_hash


@dataclass(frozen=True)
class Shard:
    """One of `count` parts; `index` counts from 1."""

    index: int
    count: int

    def holds(self, key: object) -> bool:
        """Whether a record belongs here: a function of its id alone, so neither order nor other records matter."""
        return int(unit_hash("shard", key) * self.count) == self.index - 1


def parse_shard(text: str) -> Shard:
    """`2/4`: the second of four parts.

    Raises:
        UsageError: Not i/n with 1 <= i <= n.
    """
    index, _, count = text.partition("/")
    if index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return Shard(int(index), int(count))
    raise UsageError(f"shard {text!r} is not i/n with i from 1 to n, as in 2/4")
