"""How fast this machine builds and searches each kind of index: a small one of each, timed. Needs FAISS, and no torch."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import faiss
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
        for name, preset in PRESETS.items():
            began = time.perf_counter()
            index = None
            if preset.template:
                for _ in ann.build(folder, shards, preset.factory(n, d)):
                    pass
                index = ann.open_faiss(folder)
                ann.set_search(index, ann.default_search(index))
            built = time.perf_counter()
            questions, k = vectors[:_QUESTIONS], min(_TOP_K, n)
            if index is None:
                ann.exact(shards, questions, k)
            else:
                ann.search(shards, index, questions, k, preset.refine)
            searched = time.perf_counter()
            codes_s = 0.0
            if "PQ" in preset.template:
                faiss.index_factory(d, preset.factory(n, d).rpartition(",")[2], faiss.METRIC_INNER_PRODUCT).train(vectors)
                codes_s = time.perf_counter() - searched
            yield name, Speed(n, built - began, (searched - built) / len(questions), codes_s)
