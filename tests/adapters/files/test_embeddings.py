"""Pre-computed embeddings: together the files hold one vector for each passage, and no other."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from dynamicrag_cli.adapters.files.embeddings import read_embeddings
from dynamicrag_cli.core.errors import InputError

IDS = ["a", "b", "c", "d", "e"]
VECTORS = {name: np.asarray([row, 1.5, -row], dtype=np.float32) for row, name in enumerate(IDS)}


def write(path: Path, names: str, **changes: np.ndarray) -> str:
    path.write_bytes(pickle.dumps([(name, {**VECTORS, **changes}[name]) for name in names]))
    return str(path)


def test_vectors_stand_in_the_order_of_the_ids_whatever_the_files(tmp_path: Path) -> None:
    files = [write(tmp_path / "1", "db"), write(tmp_path / "2", ""), write(tmp_path / "3", "eac")]
    matrix = read_embeddings(files[:1] + files[2:], lambda: IDS, tmp_path / "out")
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix, np.stack([VECTORS[name] for name in IDS]))


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    path = tmp_path / "half"
    path.write_bytes(pickle.dumps((IDS, np.stack(list(VECTORS.values())).astype(np.float16))))
    matrix = read_embeddings([str(path)], lambda: IDS, tmp_path / "out")
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix[:, 0], range(5))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["abcd"], "passages without a vector: 'e'"),
        (["a"], "without a vector: 'b', 'c', 'd' and 1 more"),
        (["abcdef"], "1: ids that the corpus lacks: 'f'"),
        (["abc", "cde"], "2: ids with two vectors: 'c'"),
        (["abcdea"], "1: ids with two vectors: 'a'"),
    ],
)
def test_ids_must_match_the_corpus_exactly(tmp_path: Path, files: list[str], words: str) -> None:
    paths = [write(tmp_path / str(i), names, f=VECTORS["a"]) for i, names in enumerate(files, start=1)]
    with pytest.raises(InputError, match=words):
        read_embeddings(paths, lambda: IDS, tmp_path / "out")


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        (np.ones(2, dtype=np.float32), "2 dimensions, but .*1 has 3"),
        (np.ones(3), "float64; float16 and float32 are read"),
        (np.asarray([1, 2, np.nan], dtype=np.float32), "NaN or infinity"),
        (np.asarray([1, 2, np.inf], dtype=np.float16), "NaN or infinity"),
    ],
)
def test_vectors_must_be_alike_and_finite(tmp_path: Path, vector: np.ndarray, words: str) -> None:
    files = [write(tmp_path / "1", "abcd"), write(tmp_path / "2", "e", e=vector)]
    with pytest.raises(InputError, match=words):
        read_embeddings(files, lambda: IDS, tmp_path / "out")


def test_a_matrix_with_its_ids_beside_it(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.stack([VECTORS[name] for name in "edcba"]).astype(np.float16))
    (tmp_path / "m.ids").write_text("e\nd\nc\nb\na\n")
    matrix = read_embeddings([str(tmp_path / "m.npy")], lambda: IDS, tmp_path / "out")
    assert np.array_equal(matrix, np.stack([VECTORS[name] for name in IDS]))


@pytest.mark.parametrize(
    ("ids", "content", "words"),
    [
        (None, np.ones((5, 3)), "not a matrix of embeddings with its ids beside it in m.ids"),
        ("a\nb\n", np.ones((5, 3)), r"shape \(5, 3\) for 2 ids"),
        ("a\nb\nc\nd\ne\n", np.ones(5), r"shape \(5,\) for 5 ids"),
        ("a\nb\nc\nd\ne\n", np.asarray([{}] * 5), "not a matrix of embeddings"),
    ],
    ids=["no-ids", "few-ids", "flat", "objects"],
)
def test_a_matrix_that_does_not_fit_its_ids(tmp_path: Path, ids: str | None, content: np.ndarray, words: str) -> None:
    np.save(tmp_path / "m.npy", content, allow_pickle=True)
    if ids is not None:
        (tmp_path / "m.ids").write_text(ids)
    with pytest.raises(InputError, match=words):
        read_embeddings([str(tmp_path / "m.npy")], lambda: IDS, tmp_path / "out")
