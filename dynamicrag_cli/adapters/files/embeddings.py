"""Pre-computed embeddings of a corpus: files whose ids are, together, exactly the ids of the corpus."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dynamicrag_cli.adapters.files.restricted import read_pickled_embeddings
from dynamicrag_cli.core.errors import InputError

_SHOWN = 3
_KINDS = (np.float16, np.float32)


def read_embeddings(files: Sequence[str], ids: Sequence[str]) -> np.ndarray:
    """The vectors of these ids, in their order, float32, shape (n_ids, dimension).

    Raises:
        InputError: An id has no vector or two, a vector has no passage, or a file holds other vectors than the first.
    """
    rows = {name: row for row, name in enumerate(ids)}
    matrix = np.zeros((len(ids), 0), dtype=np.float32)
    seen = np.zeros(len(ids), dtype=bool)
    for file in files:
        names, vectors = read_pickled_embeddings(Path(file))
        if vectors.dtype not in _KINDS:
            raise InputError(f"{file}: vectors of {vectors.dtype}; float16 and float32 are read")
        if not np.isfinite(vectors).all():
            raise InputError(f"{file}: a vector holds NaN or infinity")
        if matrix.shape[1] == 0:
            matrix = np.zeros((len(ids), vectors.shape[1]), dtype=np.float32)
        if vectors.shape[1] != matrix.shape[1]:
            raise InputError(f"{file}: {vectors.shape[1]} dimensions, but {files[0]} has {matrix.shape[1]}")
        _refuse(f"{file}: ids that the corpus lacks", [name for name in names if name not in rows])
        places = np.asarray([rows[name] for name in names], dtype=np.int64)
        counts = np.bincount(places, minlength=len(ids)) + seen
        _refuse(f"{file}: ids with two vectors", [ids[row] for row in np.flatnonzero(counts > 1)])
        matrix[places] = vectors
        seen[places] = True
    _refuse("passages without a vector", [ids[row] for row in np.flatnonzero(~seen)])
    return matrix


def _refuse(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise InputError(f"{what}: {', '.join(repr(name) for name in names[:_SHOWN])}{more}")
