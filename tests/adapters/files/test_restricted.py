"""Pickled embeddings: arrays, words and numbers come through, and nothing that a file names is ever called."""

import builtins
import os
import pickle
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dynamicrag_cli.adapters.files import restricted
from dynamicrag_cli.adapters.files.restricted import read_pickled_embeddings
from dynamicrag_cli.core.errors import InputError

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
IDS = ["wiki:1", "wiki:2", "é", "4"]


def write(path: Path, content: object, protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol))
    return path


def old_names(data: bytes) -> bytes:
    """The same pickle as NumPy 1 writes it: modules are called numpy.core, not numpy._core."""
    for module in (b"multiarray", b"numeric"):
        data = data.replace(b"cnumpy._core." + module, b"cnumpy.core." + module)
        new = b"numpy._core." + module
        data = data.replace(b"\x8c" + bytes([len(new)]) + new, b"\x8c" + bytes([len(new) - 1]) + b"numpy.core." + module)
    assert b"numpy._core" not in data
    assert b"numpy.core" in data
    # A frame only announces a length, which is another now.
    return data[:2] + data[11:] if data[2:3] == b"\x95" else data


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("names", ["numpy-1", "numpy-2"])
@pytest.mark.parametrize("shape", ["pairs", "matrix"])
def test_a_benign_file_comes_back_as_it_was(tmp_path: Path, protocol: int, names: str, shape: str) -> None:
    content = list(zip(IDS, VECTORS, strict=True)) if shape == "pairs" else (IDS, VECTORS)
    data = pickle.dumps(content, protocol=protocol)
    path = write(tmp_path / "e.pkl", old_names(data) if names == "numpy-1" else data)
    ids, vectors = read_pickled_embeddings(path)
    assert ids == IDS
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, VECTORS)


@pytest.mark.parametrize(
    "array",
    [
        VECTORS.astype(np.float16),
        VECTORS.astype(">f4"),
        np.asfortranarray(VECTORS),
        VECTORS[::2],
        VECTORS[:0],
        VECTORS.astype("i8"),
    ],
    ids=["half", "big-endian", "by-column", "every-second", "empty", "integers"],
)
@pytest.mark.parametrize("protocol", [4, 5])
def test_every_kind_of_plain_array_is_read(tmp_path: Path, array: np.ndarray, protocol: int) -> None:
    ids, vectors = read_pickled_embeddings(write(tmp_path / "e.pkl", [list(range(len(array))), array], protocol))
    assert ids == [str(row) for row in range(len(array))]
    assert vectors.dtype == array.dtype
    assert np.array_equal(vectors, array)


class Call:
    """Pickles as a call of any function, the usual attack."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def with_payload(payload: object) -> dict[str, object]:
    """Where a payload can hide."""
    box = np.empty(2, dtype=object)
    box[:] = [payload, 1.0]
    return {
        "alone": payload,
        "as-id": [(payload, VECTORS[0])],
        "as-vector": [("a", payload)],
        "after-the-data": [*zip(IDS, VECTORS, strict=True), payload],
        "in-an-object-array": [("a", box)],
        "in-the-matrix": (["a", "b"], box),
    }


PLACES = list(with_payload(None))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    ("function", "named"),
    [
        (os.system, "system"),
        (subprocess.check_output, "check_output"),
        (builtins.eval, "eval"),
        (builtins.getattr, "getattr"),
        (builtins.open, "open"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_call_is_refused_by_its_name_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, protocol: int, function: object, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    argument = "open('ran', 'w')" if named == "eval" else "touch ran"
    payload = Call(function, "ran", "w") if named == "open" else Call(function, argument)
    path = write(tmp_path / "e.pkl", with_payload(payload)[place], protocol)
    with pytest.raises(InputError) as caught:
        read_pickled_embeddings(path)
    assert str(path) in str(caught.value)
    # Whatever the file names first is refused first: object arrays, and the bytes of arrays in old protocols.
    first = "expected plain numbers" if "object" in place or "matrix" in place else named
    old = {0: "copy_reg._reconstructor|_codecs.encode", 2: "_codecs.encode"}.get(protocol, first)
    assert re.search(f"{first}|{named}|{old}", str(caught.value))
    assert not (tmp_path / "ran").exists()


def test_the_payloads_of_these_tests_do_run_where_nothing_guards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the tests above could pass with attacks that are none."""
    monkeypatch.chdir(tmp_path)
    for place in PLACES:
        pickle.loads(pickle.dumps(with_payload(Call(os.system, "touch ran"))[place]))
        (tmp_path / "ran").unlink()


def test_numpys_own_functions_are_out_of_reach(tmp_path: Path) -> None:
    inner = write(tmp_path / "inner.npy", b"")
    np.save(inner, np.asarray([Call(os.system, f"touch {tmp_path}/ran")], dtype=object), allow_pickle=True)
    for function, arguments in (
        (np.load, (str(inner), None, True)),
        (np.memmap, (str(inner),)),
        (np.fromfile, (str(inner),)),
        (np.asarray, ([1.0],)),
        (np.float32, (1.0,)),
    ):
        with pytest.raises(InputError, match=r"refused: it names numpy[\w.]*\.\w+, and only arrays"):
            read_pickled_embeddings(write(tmp_path / "e.pkl", [("a", Call(function, *arguments))]))
    assert not (tmp_path / "ran").exists()


def raw(*parts: bytes) -> bytes:
    """A pickle written by hand: protocol 3."""
    return b"\x80\x03" + b"".join(parts) + b"."


NDARRAY = b"cnumpy\nndarray\n"
RECONSTRUCT = b"cnumpy._core.multiarray\n_reconstruct\n"
DTYPE = b"cnumpy\ndtype\n"
FROMBUFFER = b"cnumpy._core.numeric\n_frombuffer\n"
WORD = b"X\x02\x00\x00\x00f4"
HUGE = b"\x8a\x06\x00\x00\x00\x00\x00\x40"
BYTES = b"C\x04\x00\x00\x80?"


@pytest.mark.parametrize(
    "data",
    [
        raw(NDARRAY, b"(", HUGE, b"t", b"R"),  # ndarray(2 ** 46): memory
        raw(NDARRAY, b"(", HUGE, b"t", b"\x81"),  # the same by __new__
        raw(NDARRAY, b"}X\x01\x00\x00\x00aK\x01sb"),  # setting attributes of what a name stands for
        raw(RECONSTRUCT, b"N}X\x0c\x00\x00\x00__setstate__K\x01s\x86b"),
        raw(DTYPE, b"N}X\x08\x00\x00\x00__init__K\x01s\x86b"),
        raw(RECONSTRUCT, b")\x81"),  # an array without its state
        raw(b"]", b"X\x01\x00\x00\x00a", RECONSTRUCT, b")R", b"\x86a"),
        raw(DTYPE, b"(X\x01\x00\x00\x00Ot", b"R"),  # object dtype
        raw(DTYPE, b"(", WORD, b"t", b"R", b"(K\x03X\x01\x00\x00\x00<NX\x01\x00\x00\x00aNJ\xff\xff\xff\xff\x8a\x01\x7fK\x3ftb"),
        raw(FROMBUFFER, b"(", BYTES, DTYPE, b"(", WORD, b"tR", HUGE, b"\x85X\x01\x00\x00\x00Ct", b"R"),  # a shape that lies
        raw(FROMBUFFER, b"(", BYTES, WORD, b"K\x01\x85X\x01\x00\x00\x00Ct", b"R"),  # dtype as a word
        raw(b"K\x07Q"),  # persistent id
        raw(b"\x82\x01"),  # extension registry
    ],
    ids=range(13),
)
def test_hand_made_pickles_are_input_errors(tmp_path: Path, data: bytes) -> None:
    before = {kind: dict(vars(kind)) for kind in (restricted._Ndarray, restricted._Dtype, restricted._Array, restricted._Buffer)}
    with pytest.raises(InputError):
        read_pickled_embeddings(write(tmp_path / "e.pkl", data))
    assert {kind: dict(vars(kind)) for kind in before} == before


def structured() -> np.ndarray:
    return np.zeros(2, dtype=[("a", "f4"), ("b", "f4")])


@pytest.mark.parametrize(
    "content",
    [
        {"a": VECTORS[0]},
        [("a", [0.1, 0.2])],
        [("a", VECTORS[0]), ("b", VECTORS[0, :2])],
        [("a", VECTORS[0], 1)],
        [(("a",), VECTORS[0])],
        [(1.5, VECTORS[0])],
        [(True, VECTORS[0])],
        (["a"], VECTORS),
        (IDS, VECTORS[0]),
        ("abcd", VECTORS),
        [("a", structured())],
        [("a", np.asarray(["x"]))],
        [("a", np.asarray([None]))],
        [("a", np.asarray([1j]))],
        [("a", np.ma.masked_array([1.0]))],
        42,
        None,
        "text",
    ],
    ids=range(18),
)
def test_other_content_is_an_input_error(tmp_path: Path, content: object) -> None:
    with pytest.raises(InputError, match=r"e\.pkl"):
        read_pickled_embeddings(write(tmp_path / "e.pkl", content))


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x80\x05", pickle.dumps([("a", VECTORS[0])])[:-9], b"\x93NUMPY"])
def test_a_damaged_file_is_an_input_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError, match=r"e\.pkl: not a pickle of embeddings"):
        read_pickled_embeddings(write(tmp_path / "e.pkl", data))


def test_a_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="cannot be read"):
            read_pickled_embeddings(path)
