"""Kinds of vector index by name: what each is in FAISS's words, and what it costs.

Everything here is arithmetic over n passages of d dimensions; nothing is loaded. Beside every index stand its vectors as float16
shards, so `fp16` and `ivf` lose nothing against `flat` but what lists lose, and kinds that shorten vectors can look their best
finds up in the shards (refining).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

_LINKS = 32
# FAISS wants at least 39 training vectors for a list; more than this many hardly change the lists.
_PER_LIST = 50
_TRAINING_ITERATIONS = 10


@dataclass(frozen=True)
class Preset:
    """A kind of index.

    Attributes:
        summary: One line for people.
        template: FAISS's factory string; empty: no index, the shards are searched.
        row_bytes: Bytes of a vector of d dimensions in it.
        reads: What a question is compared with: `all` vectors, those of some `lists`, or a path through a `graph`.
        refine: How many times as many passages as asked for are found and then scored exactly from the shards; 1: none.
        recall: recall@10 of real questions to expect with the default settings, as measured with a million vectors of 384
            dimensions (docs/performance.md); None: not yet.
    """

    summary: str
    template: str
    row_bytes: Callable[[int], int]
    reads: Literal["all", "lists", "graph"]
    refine: int = 1
    recall: float | None = None

    def factory(self, n: int, d: int) -> str:
        """FAISS's description of this kind for n vectors of d dimensions."""
        return self.template.format(lists=lists_for(n), codes=d // 2)

    def size(self, n: int, d: int) -> int:
        """Bytes of the index."""
        return n * self.row_bytes(d) + (4 * lists_for(n) * d if self.reads == "lists" else 0)

    def build_work(self, n: int, d: int) -> float:
        """Operations of building it, up to a factor that is the same for every n and d."""
        if self.reads == "lists":
            return float(_TRAINING_ITERATIONS * training_rows(n) + n) * lists_for(n) * d
        return float(n) * d * (math.log2(max(n, 2)) if self.reads == "graph" else 1)

    def search_work(self, n: int, d: int) -> float:
        """Operations of one question, likewise."""
        if self.reads == "lists":
            return (lists_for(n) + n * probes_for(lists_for(n)) / lists_for(n)) * d
        return float(d) * (math.log2(max(n, 2)) if self.reads == "graph" else n)


def lists_for(n: int) -> int:
    """Lists of an inverted file: the power of two next to 4 sqrt(n), and so few that each can be trained."""
    return 1 << max(0, min(round(math.log2(4 * math.sqrt(n))), int(math.log2(max(n / _PER_LIST, 1)))))


def probes_for(lists: int) -> int:
    """Lists that are searched for a question unless told otherwise: one in 64, at least 16."""
    return min(lists, max(16, lists // 64))


def training_rows(n: int) -> int:
    """Vectors that an index is trained on: enough for its lists and for a quantiser."""
    return min(n, max(_PER_LIST * lists_for(n), 65_536))


PRESETS: dict[str, Preset] = {
    "flat": Preset("exact, float32", "Flat", lambda d: 4 * d, "all", recall=1.0),
    "fp16": Preset("exact, float16", "SQfp16", lambda d: 2 * d, "all", recall=1.0),
    "sq8": Preset("every vector, a byte a dimension", "SQ8", lambda d: d, "all", refine=2, recall=1.0),
    "ivf": Preset("inverted lists of float16", "IVF{lists},SQfp16", lambda d: 2 * d + 8, "lists", recall=0.95),
    "ivfpq": Preset(
        "inverted lists, 2 bits a dimension", "IVF{lists},PQ{codes}x4fs", lambda d: d // 4 + 8, "lists", refine=4, recall=0.95
    ),
    "hnsw": Preset("a graph over float16", f"HNSW{_LINKS}_SQfp16", lambda d: 2 * d + 8 * _LINKS + 16, "graph", recall=0.85),
    "scan": Preset("no index: the shards are read one after the other", "", lambda _: 0, "all", recall=1.0),
}


def shard_bytes(n: int, d: int) -> int:
    """Bytes of the float16 shards, which every dense index keeps."""
    return 2 * n * d
