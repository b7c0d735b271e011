"""FAISS: building an index from shards, opening it mapped, searching it, and what its recall is against exact search."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from dynamicrag_cli.adapters.retrievers.vectors import Vectors
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.presets import probes_for, training_rows

# Rows and their scores, both (n_queries, k), best first.
Found = tuple[np.ndarray, np.ndarray]

FILE = "dense.faiss"
RECALL_AT = 10
_SAMPLE = 1000
_DEFAULT_EF = 128
# Questions whose candidates are rescored at a time.
_RESCORED = 64


def build(folder: Path, vectors: Vectors, factory: str) -> Iterator[int]:
    """Train and fill an index shard by shard and write it; yields the number of vectors that are in it.

    Memory is that of the index, the training sample and one shard.

    Raises:
        UsageError: FAISS does not know the factory string, or cannot build it for these vectors.
    """
    try:
        index = faiss.index_factory(vectors.dimension, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            index.train(vectors.take(sample_rows(len(vectors), training_rows(len(vectors)))))
        for _, block in vectors.blocks():
            index.add(block)
            yield index.ntotal
    except RuntimeError as error:
        raise UsageError(f"FAISS cannot build {factory!r} for {len(vectors)} vectors: {_reason(error)}") from error
    faiss.write_index(index, str(folder / FILE))


def open_faiss(folder: Path) -> Any:
    """Open the index of a folder; its vectors, codes and graph stay in the file, mapped.

    Raises:
        InputError: The file is missing or damaged.
    """
    try:
        return faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC)
    except (RuntimeError, MemoryError) as error:
        raise InputError(f"{folder / FILE}: the FAISS index is missing or damaged; build it again") from error


def default_search(index: Any) -> dict[str, int]:
    """What decides speed and recall when this kind of index is searched, with default values."""
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        return {"nprobe": probes_for(inverted.nlist)}
    return {"efSearch": _DEFAULT_EF} if isinstance(index, faiss.IndexHNSW) else {}


def set_search(index: Any, settings: dict[str, int]) -> None:
    """Set `nprobe` or `efSearch`.

    Raises:
        UsageError: The index has no such setting.
    """
    known = default_search(index)
    for name, value in settings.items():
        if name not in known:
            raise UsageError(f"this index has no {name}; it has {', '.join(known) or 'nothing to set'}")
        faiss.ParameterSpace().set_index_parameter(index, name, value)


def to_gpus(index: Any) -> Any | None:
    """The index on all GPUs, its vectors divided among them as float16; None where FAISS sees no GPU (untested on a GPU)."""
    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        return None
    options = faiss.GpuMultipleClonerOptions()
    options.shard, options.useFloat16 = True, True
    try:
        return faiss.index_cpu_to_all_gpus(index, co=options)
    except RuntimeError:
        return None  # A graph, for one, has no form for GPUs.


def exact(vectors: Vectors, queries: np.ndarray, k: int, share: int = 0, of: int = 1) -> Found:
    """Rows and inner products, both (n_queries, k), best first, by going over all shards; memory is that of one shard.

    Of one of several shares of the shards it may be fewer than k; `merged`, in their order, they are what all shards give.
    """
    return merged((_near(queries, start, block, k) for start, block in vectors.blocks(share, of)), len(queries), k)


def exact_share(folder: Path, share: int, of: int) -> Callable[[list[tuple[np.ndarray, int]]], list[Found]]:
    """`exact` over a share of the shards of a folder, for a worker: from (queries, k) to what was found."""
    vectors = Vectors(folder)
    return lambda asked: [exact(vectors, queries, k, share, of) for queries, k in asked]


def merged(lists: Iterable[Found], n: int, k: int) -> Found:
    """The best k for each of n queries out of several lists of what was found; of equal scores the first."""
    rows, scores = np.empty((n, 0), dtype=np.int64), np.empty((n, 0), dtype=np.float32)
    for more, values in lists:
        rows, scores = np.concatenate([rows, more], axis=1), np.concatenate([scores, values], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        rows, scores = np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
    return rows, scores


def _near(queries: np.ndarray, start: int, block: np.ndarray, k: int) -> Found:
    scores, rows = faiss.knn(queries, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
    return rows + start, scores


def rescored(vectors: Vectors, queries: np.ndarray, rows: np.ndarray, k: int) -> Found:
    """The best k of the rows found for each query by their exact inner products; row -1 (nothing found) comes last."""
    kept, scores = [], []
    for start in range(0, len(queries), _RESCORED):
        asked, found = queries[start : start + _RESCORED], rows[start : start + _RESCORED]
        near = vectors.take(np.maximum(found, 0).ravel()).reshape(*found.shape, -1)
        values = np.where(found >= 0, np.einsum("qd,qkd->qk", asked, near), -np.inf).astype(np.float32)
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        kept.append(np.take_along_axis(found, order, axis=1))
        scores.append(np.take_along_axis(values, order, axis=1))
    return np.concatenate(kept), np.concatenate(scores)


def search(vectors: Vectors, index: Any, queries: np.ndarray, k: int, refine: int = 1) -> Found:
    """Rows and inner products, both (n_queries, k), best first.

    A question for which the index finds fewer than k passages (its lists are short) is answered from the shards.
    """
    wide = min(k * refine, len(vectors))
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = max(index.hnsw.efSearch, wide)
    scores, rows = index.search(queries, wide)
    if refine > 1:
        rows, scores = rescored(vectors, queries, rows, k)
    short = (rows < 0).any(axis=1)
    if short.any():
        rows[short], scores[short] = exact(vectors, queries[short], k)
    return rows, scores


def recall(vectors: Vectors, index: Any, refine: int) -> dict[str, Any]:
    """recall@10 against exact search, with up to 1000 of the index's own vectors as questions, each left out of its own answer.

    What scores as well as the tenth of the exact answer counts as found, so equal passages do not matter. Real questions lie
    further from passages than passages from each other, and an inverted file may find a little less for them.
    """
    k = min(RECALL_AT, len(vectors) - 1)
    if k < 1:
        return {"recall_at_10": None, "recall_queries": 0}
    own = sample_rows(len(vectors), _SAMPLE)
    queries = vectors.take(own)
    truth, values = exact(vectors, queries, k + 1)
    least = _without(truth, own, values, k).min(axis=1)
    found, _ = search(vectors, index, queries, k + 1, refine)
    _, reached = rescored(vectors, queries, np.where(found == own[:, None], -1, found), k)
    hits = reached >= (least - 1e-5 * np.abs(least) - 1e-6)[:, None]
    return {"recall_at_10": round(float(hits.mean()), 4), "recall_queries": len(own)}


def sample_rows(n: int, size: int) -> np.ndarray:
    """Some rows, all different, in order; the same ones every time."""
    return np.sort(np.random.default_rng(0).choice(n, min(size, n), replace=False))


def _without(rows: np.ndarray, own: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """The best k values of each row list without the list's own row."""
    return -np.sort(-np.where(rows == own[:, None], -np.inf, values), axis=1)[:, :k]


def _reason(error: Exception) -> str:
    return str(error).rpartition("Error: ")[2].splitlines()[0] if str(error) else type(error).__name__
