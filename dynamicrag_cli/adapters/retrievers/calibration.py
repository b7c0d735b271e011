"""How fast this machine builds and searches each kind of index: a small one of each, timed. Needs FAISS, and no torch."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dynamicrag_cli.adapters.retrievers import ann
from dynamicrag_cli.adapters.retrievers.vectors import ShardWriter, Vectors
from dynamicrag_cli.core.plan import Speed
from dynamicrag_cli.core.presets import PRESETS

_QUESTIONS = 128
_TOP_K = 50


def calibrate(n: int, d: int) -> Iterator[tuple[str, Speed]]:
    """Time every preset with n clustered random vectors of d dimensions; a batch of questions, so a question's share of it."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((64, d), dtype=np.float32)
    vectors = centres[generator.integers(64, size=n)] + generator.standard_normal((n, d), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ShardWriter(folder, {}).add(vectors)
        shards = Vectors(folder)
        built: dict[str, float] = {}
        for name, preset in PRESETS.items():
            began = time.perf_counter()
            index = _built(folder, shards, preset.factory(n, d)) if preset.template else None
            built[name] = time.perf_counter() - began
            # The lists are those of `ivf`, which is timed before the others; the rest is learning codes.
            lists_s = built["ivf"] if preset.reads == "lists" else built[name]
            questions, k = vectors[:_QUESTIONS], min(_TOP_K, n)
            _searched(shards, index, questions, k, preset.refine)  # the first one pays for pages and threads
            found_s = _searched(shards, index, questions, k, 1)
            refined_s = _searched(shards, index, questions, k, preset.refine) if preset.refine > 1 else found_s
            yield (
                name,
                Speed(n, min(built[name], lists_s), found_s, max(built[name] - lists_s, 0.0), max(refined_s - found_s, 0.0)),
            )


def _built(folder: Path, shards: Vectors, factory: str) -> Any:
    for _ in ann.build(folder, shards, factory):
        pass
    index = ann.open_faiss(folder)
    ann.set_search(index, ann.default_search(index))
    return index


def _searched(shards: Vectors, index: Any | None, questions: np.ndarray, k: int, refine: int) -> float:
    """Seconds for a question, as its share of a batch."""
    began = time.perf_counter()
    if index is None:
        ann.exact(shards, questions, k)
    else:
        ann.search(shards, index, questions, k, refine)
    return (time.perf_counter() - began) / len(questions)
