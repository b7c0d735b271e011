"""Pre-computed embeddings in DPR's format, a pickle, read without running what is in it.

A pickle is a program: it may name any function of any module and call it. This reader knows five names, those that NumPy uses to
write an array, and puts harmless stand-ins of ours in their place; a pickle that names anything else is refused. No class or
function of NumPy is within reach of the file, and object arrays, structured types and subclasses do not exist here. It is the
only module that imports pickle, and a test holds it to that.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from dynamicrag_cli.core.errors import InputError

# For those who read pickles by other means and must not import the module themselves.
UnpicklingError = pickle.UnpicklingError

_PLAIN = re.compile(r"[<>|=]?[fiu][1248]")
_ORDERS = ("C", "F")


class _Ndarray:
    """Stands for `numpy.ndarray`, which files only hand to `_reconstruct`."""

    def __init__(self) -> None:
        raise TypeError("an array is made by numpy's _reconstruct or _frombuffer only")

    def __setstate__(self, state: object) -> None:
        raise TypeError("no state here")


class _Dtype:
    """Stands for `numpy.dtype`: plain numbers only."""

    def __init__(self, name: str, *_options: object) -> None:
        if not isinstance(name, str) or not _PLAIN.fullmatch(name):
            raise TypeError(f"an array of {name!r}, expected plain numbers")
        self.value = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, order, *parts = state
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts[:3]):
            raise TypeError("an array of a structured type")
        self.value = self.value.newbyteorder(order)


class _Array:
    """Stands for an array that is made empty by `_reconstruct` and then given its state."""

    def __init__(self, *_template: object) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, by_column, data = state
        self.value = _filled(data, dtype, shape, _ORDERS[bool(by_column)])


class _Buffer(_Array):
    """Stands for an array that is made by `_frombuffer`."""

    def __init__(self, data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> None:
        super().__init__()
        self.value = _filled(data, dtype, shape, order)


def _filled(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray) or order not in _ORDERS:
        raise TypeError("an array of something else than numbers")
    values = np.frombuffer(data, dtype=dtype.value)
    return values.reshape(shape, order="F") if order == "F" else values.reshape(shape)


# The names under which NumPy 1 and NumPy 2 write arrays.
_KNOWN: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Ndarray,
    ("numpy", "dtype"): _Dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Buffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _KNOWN:
            raise InputError(f"it names {module}.{name}, and only arrays, text and numbers are read from a pickle")
        return _KNOWN[module, name]


def read_pickled_embeddings(path: Path) -> tuple[list[str], np.ndarray]:
    """Ids and vectors (rows) of a pickle that is a list of (id, vector), or a list of ids and one matrix.

    Raises:
        InputError: It is no such file, or it names something that no array needs; nothing of it has been called.
    """
    try:
        with path.open("rb") as file:
            content = _Unpickler(file).load()
        return _parsed(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except InputError as error:
        raise InputError(f"{path}: refused: {error}") from None
    except Exception as error:
        # A damaged pickle surfaces as almost any exception.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a pickle of embeddings ({reason})") from error


def _parsed(content: object) -> tuple[list[str], np.ndarray]:
    if not isinstance(content, list | tuple):
        raise TypeError("expected a list of (id, vector), or ids and a matrix")
    if len(content) == 2 and isinstance(content[1], _Array):
        ids, rows = content
        matrix = _value(rows)
    else:
        ids, rows = [], []
        for pair in content:
            name, vector = pair
            ids.append(name)
            rows.append(_value(vector))
        matrix = np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)
    if not isinstance(ids, list | tuple) or not all(type(name) in (str, int) for name in ids):
        raise TypeError("the ids are no list of words or whole numbers")
    if matrix.ndim != 2 or len(matrix) != len(ids):
        raise TypeError(f"{len(ids)} ids for an array of shape {matrix.shape}")
    return [str(name) for name in ids], matrix


def _value(array: object) -> np.ndarray:
    if not isinstance(array, _Array) or array.value is None:
        raise TypeError("expected an array of numbers")
    return array.value
