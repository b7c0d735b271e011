"""Pre-computed embeddings of a corpus: files whose ids are, together, exactly the ids of the corpus."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from dynamicrag_cli.adapters.files.restricted import read_pickled_embeddings
from dynamicrag_cli.core.errors import InputError

_SHOWN = 3
_KINDS = (np.float16, np.float32)


def read_embeddings(files: Sequence[str], ids: Callable[[], Iterable[str]], target: Path) -> np.ndarray:
    """The vectors of these ids, in their order, float32, shape (n_ids, dimension), in a mapped file that is made at `target`.

    A file is a pickle in DPR's format, or `NAME.npy` (a matrix) beside `NAME.ids` (an id a line). One file is held at a time, and
    of the ids 8 bytes of hash each.

    Raises:
        InputError: An id has no vector or two, a vector has no passage, or a file holds other vectors than the first.
    """
    keys = np.fromiter((_key(name) for name in ids()), dtype=np.uint64)
    order = np.argsort(keys)
    ordered = keys[order]
    seen = np.zeros(len(keys), dtype=bool)
    matrix: np.ndarray | None = None
    for file in files:
        names, vectors = _read(Path(file))
        _check(file, vectors)
        if matrix is None:
            matrix = np.memmap(target, mode="w+", dtype=np.float32, shape=(len(keys), vectors.shape[1]))
        if vectors.shape[1] != matrix.shape[1]:
            raise InputError(f"{file}: {vectors.shape[1]} dimensions, but {files[0]} has {matrix.shape[1]}")
        wanted = np.fromiter((_key(name) for name in names), dtype=np.uint64, count=len(names))
        places = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        _refuse(f"{file}: ids that the corpus lacks", [names[i] for i in np.flatnonzero(ordered[places] != wanted)])
        rows = order[places]
        counts = np.bincount(rows, minlength=len(keys)) + seen
        twice = counts[rows] > 1
        _refuse(f"{file}: ids with two vectors", list(dict.fromkeys(names[i] for i in np.flatnonzero(twice))))
        matrix[rows] = vectors
        seen[rows] = True
    if matrix is None or not seen.all():
        _refuse("passages without a vector", [name for name, there in zip(ids(), seen, strict=True) if not there])
    assert matrix is not None
    return matrix


def _read(path: Path) -> tuple[Sequence[str], np.ndarray]:
    if path.suffix != ".npy":
        return read_pickled_embeddings(path)
    listed = path.with_suffix(".ids")
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        names = listed.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a matrix of embeddings with its ids beside it in {listed.name} ({error})") from error
    if vectors.ndim != 2 or len(vectors) != len(names):
        raise InputError(f"{path}: an array of shape {vectors.shape} for {len(names)} ids in {listed.name}")
    return names, vectors


def _check(file: str, vectors: np.ndarray) -> None:
    if vectors.dtype not in _KINDS:
        raise InputError(f"{file}: vectors of {vectors.dtype}; float16 and float32 are read")
    if not np.isfinite(vectors).all():
        raise InputError(f"{file}: a vector holds NaN or infinity")


def _key(name: str) -> int:
    """64 bits that stand for an id: among 21 million the chance of any two equal ones is one in 100 000."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def _refuse(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise InputError(f"{what}: {', '.join(repr(name) for name in names[:_SHOWN])}{more}")
