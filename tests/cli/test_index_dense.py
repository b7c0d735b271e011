"""`drag index --retriever dense`: embeddings made elsewhere, interrupted encodings, kinds of index."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from dynamicrag_cli.adapters.retrievers import dense
from dynamicrag_cli.adapters.retrievers import vectors as shards
from dynamicrag_cli.cli.index import open_index
from tests.samples import PASSAGES, write


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Embeddings of the corpus, in another order: b is nearest to what points along the first axis."""
    rows = {"c": 0.5, "a": -2.0, "b": 3.0}
    path = tmp_path / "vectors.pkl"
    path.write_bytes(pickle.dumps([(name, np.eye(32, dtype=np.float32)[0] * value) for name, value in rows.items()]))
    return path


def test_embeddings_are_taken_as_they_are_instead_of_encoding(
    drag, corpus: Path, tmp_path: Path, vectors: Path, tiny_encoder: Path
) -> None:
    call = ("index", corpus, "-o", tmp_path / "ix", "--retriever", "dense", "--model", tiny_encoder, "--embeddings", vectors)
    done = drag(*call)
    assert done.code == 0, done.err
    index = open_index(tmp_path / "ix")
    assert [p.id for p in index.store] == ["a", "b", "c"]
    assert np.array_equal(index.index.reconstruct_n(0, 3)[:, 0], np.asarray([-2.0, 3.0, 0.5], dtype=np.float32))
    assert "up to date" in drag(*call).err
    # Other vectors make another index.
    vectors.write_bytes(pickle.dumps((["a", "b", "c"], np.ones((3, 32), dtype=np.float16))))
    assert "up to date" not in drag(*call).err
    assert open_index(tmp_path / "ix").index.reconstruct(0)[5] == 1


def test_embeddings_that_do_not_fit_are_an_input_error_and_leave_no_index(
    drag, corpus: Path, tmp_path: Path, vectors: Path, tiny_encoder: Path
) -> None:
    dense = ("--retriever", "dense", "--model", tiny_encoder)
    write(corpus, [*PASSAGES, {"id": "d", "title": "", "text": "One more."}])
    for arguments, code, words in (
        ([*dense, "--embeddings", vectors], 4, "without a vector: 'd'"),
        ([*dense, "--embeddings", tmp_path / "nowhere"], 4, "no such file"),
        (["--embeddings", vectors], 2, "--retriever dense"),
        (["--retriever", "dense", "--embeddings", vectors], 2, "--model"),
    ):
        done = drag("index", corpus, "-o", tmp_path / "ix", *arguments)
        assert (done.code, done.error) == (code, None)
        assert words in done.err
        assert not (tmp_path / "ix").exists()


def test_a_pickle_that_calls_something_is_refused(drag, corpus: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    class Payload:
        def __reduce__(self):
            return eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps([("a", Payload())]))
    call = ("index", corpus, "-o", tmp_path / "ix", "--retriever", "dense", "--model", tiny_encoder)
    done = drag(*call, "--embeddings", tmp_path / "evil.pkl")
    assert (done.code, done.error) == (4, None)
    assert "builtins.eval" in done.err
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def killed(drag, corpus: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch):
    """An encoding run that was interrupted behind its first shard of two passages, and the call that made it."""
    monkeypatch.setattr(shards, "ROWS", 2)
    monkeypatch.setattr(dense, "_CHUNK", 1)
    call = ("index", corpus, "-o", tmp_path / "ix", "--retriever", "dense", "--model", tiny_encoder, "--device", "cpu")
    whole, encoded = dense.encode, []

    def stopped(encoder, texts, *arguments, **options):
        if len(encoded) == 2:
            raise KeyboardInterrupt
        encoded.append(texts)
        return whole(encoder, texts, *arguments, **options)

    monkeypatch.setattr(dense, "encode", stopped)
    assert drag(*call).code == 130
    assert not (tmp_path / "ix").exists()

    def counted(encoder, texts, *arguments, **options):
        encoded.append(texts)
        return whole(encoder, texts, *arguments, **options)

    encoded.clear()
    monkeypatch.setattr(dense, "encode", counted)
    return call, encoded


def test_an_interrupted_encoding_goes_on_behind_its_last_shard(drag, killed, tmp_path: Path) -> None:
    call, encoded = killed
    # What is behind the vectors may be another now.
    done = drag(*call, "--preset", "hnsw")
    assert done.code == 0, done.err
    assert "going on with what an interrupted run has left" in done.err
    assert encoded == [["Untitled words on bridges."]]
    drag(*call[:3], tmp_path / "clean", *call[4:], "--preset", "hnsw")
    for name in ("vectors/00000.npy", "vectors/00001.npy", "passages.arrow", "dense.faiss"):
        assert (tmp_path / "ix" / name).read_bytes() == (tmp_path / "clean" / name).read_bytes()
    assert {path.name for path in (tmp_path / "ix").iterdir()} == {path.name for path in (tmp_path / "clean").iterdir()}
    assert not (tmp_path / "ix.partial").exists()


def test_what_an_interrupted_encoding_has_left_is_not_thrown_away_unasked(drag, killed, corpus: Path, tmp_path: Path) -> None:
    call, encoded = killed
    done = drag(*call, "--passage-prefix", "passage: ")
    assert (done.code, done.error) == (4, None)
    assert (
        "holds 2 passages that an unfinished run encoded with other settings (encoding.passage_prefix:  -> passage: )" in done.err
    )
    write(corpus, PASSAGES[:2])
    done = drag(*call)
    assert (done.code, done.error) == (4, None)
    assert "unfinished run over another corpus; --fresh throws them away" in done.err
    assert encoded == []
    assert (tmp_path / "ix.partial/vectors/00000.npy").exists()
    assert drag(*call, "--fresh").code == 0
    assert len(encoded) == 2


def test_the_vectors_of_another_index_are_taken_over(
    drag, corpus: Path, pair: dict[str, Path], tmp_path: Path, tiny_encoder: Path
) -> None:
    call = ("index", corpus, "-o", tmp_path / "ix", "--retriever", "dense", "--model", tiny_encoder, "--preset", "sq8")
    done = drag(*call, "--embeddings", pair["own-dense"])
    assert done.code == 0, done.err
    assert (tmp_path / "ix/vectors/00000.npy").read_bytes() == (pair["own-dense"] / "vectors/00000.npy").read_bytes()
    for wrong, arguments in (("other-dense", []), ("own-dense", ["--metric", "ip"]), ("own-bm25", [])):
        refused = drag(*call, "--fresh", "--embeddings", pair[wrong], *arguments)
        assert (refused.code, refused.error) == (4, None)
        assert "no index of this corpus by this encoder" in refused.err
    assert open_index(tmp_path / "ix").settings["factory"] == "SQ8"


def test_options_of_dense_indexes(drag, corpus: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    call = ("index", corpus, "-o", tmp_path / "ix", "--retriever", "dense", "--model", tiny_encoder)
    for arguments, words in (
        (["--preset", "flta"], "Did you mean 'flat'?"),
        (["--metric", "l2"], "unknown metric"),
        (["--factory", "IFV3"], "FAISS cannot build 'IFV3'"),
        (["--factory", "Flat", "--nprobe", 3], "this index has no nprobe"),
    ):
        done = drag(*call, *arguments)
        assert (done.code, done.error) == (2, None), done.err
        assert words in done.err
        assert not (tmp_path / "ix").exists()


def test_the_manifest_says_how_the_index_is_searched_and_how_well(drag, corpus: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    call = ("index", corpus, "-o", tmp_path / "ix", "--retriever", "dense", "--model", tiny_encoder, "--query-prefix", "query: ")
    assert drag(*call, "--factory", "IVF1,Flat", "--refine", 2).code == 0
    kept = json.loads((tmp_path / "ix/manifest.json").read_text())["settings"]
    assert kept["encoding"] == {"pooling": None, "query_prefix": "query: ", "passage_prefix": "", "metric": "cosine"}
    assert (kept["factory"], kept["search"]) == ("IVF1,Flat", {"nprobe": 1, "refine": 2})
    assert (kept["recall_at_10"], kept["recall_queries"]) == (1.0, 3)
    assert kept["bytes"] == (tmp_path / "ix/dense.faiss").stat().st_size
