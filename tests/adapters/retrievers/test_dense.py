"""The dense index: exact cosine search with the tiny encoder."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from dynamicrag_cli.adapters.retrievers import dense
from dynamicrag_cli.adapters.retrievers.dense import DenseIndex, encode, load_encoder
from dynamicrag_cli.adapters.retrievers.store import PassageStore, text_of, write_store
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.records import Passage

PASSAGES = [Passage(id=str(i), title=f"Title {i}", text=f"Passage {i} on rivers and the moon. " * (1 + i % 3)) for i in range(11)]
QUESTIONS = ["Which river?", "a moon of Jupiter", "17"]


@pytest.fixture
def built(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict]:
    monkeypatch.setattr(dense, "_CHUNK", 4)
    settings = {"model": str(tiny_encoder), "device": "cpu", "batch_size": 3}
    write_store(tmp_path, PASSAGES)
    assert list(DenseIndex.build(tmp_path, PassageStore(tmp_path), settings)) == [4, 8, 11]
    return tmp_path, settings


def opened(folder: Path, settings: dict) -> DenseIndex:
    return DenseIndex(folder, PassageStore(folder), settings)


def test_search_is_exact_by_cosine(built) -> None:
    index = opened(*built)
    rows, scores = index.search(QUESTIONS, 5)
    vectors = index.encoder.encode([text_of(p) for p in PASSAGES])
    asked = index.encoder.encode(QUESTIONS)
    cosines = (asked @ vectors.T) / np.linalg.norm(asked, axis=1)[:, None] / np.linalg.norm(vectors, axis=1)
    assert np.allclose(scores, -np.sort(-cosines, axis=1)[:, :5], atol=1e-5)
    assert np.allclose(np.take_along_axis(cosines, rows, axis=1), scores, atol=1e-5)


def test_more_candidates_than_passages_are_all_passages(built) -> None:
    rows, _ = opened(*built).search(QUESTIONS, 99)
    assert rows.shape == (3, 11)
    assert (rows >= 0).all()


def test_vectors_have_unit_length_whatever_the_batch(tiny_encoder: Path) -> None:
    encoder = load_encoder(str(tiny_encoder), "cpu")
    one, many = (encode(encoder, QUESTIONS, size) for size in (1, 32))
    assert one.dtype == np.float32
    assert np.allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
    assert np.allclose(one, many, atol=1e-5)


def test_wrong_models(tmp_path: Path) -> None:
    write_store(tmp_path, PASSAGES)
    with pytest.raises(UsageError, match="needs --model"):
        list(DenseIndex.build(tmp_path, PassageStore(tmp_path), {"model": None}))
    with pytest.raises(InputError, match="encoder"):
        load_encoder(str(tmp_path / "nowhere"))


def other_width(folder: Path) -> None:
    index = faiss.IndexFlatIP(7)
    index.add(np.zeros((11, 7), dtype=np.float32))
    faiss.write_index(index, str(folder / "dense.faiss"))


def fewer(folder: Path) -> None:
    index = faiss.IndexFlatIP(32)
    index.add(np.zeros((10, 32), dtype=np.float32))
    faiss.write_index(index, str(folder / "dense.faiss"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "dense.faiss").unlink(), "missing or damaged"),
        (lambda folder: (folder / "dense.faiss").write_bytes(b"nonsense"), "missing or damaged"),
        (other_width, "built with 7 dimensions"),
        (fewer, "10 vectors for 11 passages"),
    ],
    ids=["gone", "broken", "other-width", "fewer"],
)
def test_a_damaged_index_is_an_input_error(built, damage, words: str) -> None:
    damage(built[0])
    with pytest.raises(InputError, match=words):
        opened(*built)
