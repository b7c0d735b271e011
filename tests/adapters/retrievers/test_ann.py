"""FAISS over shards: exact where it says so, measured where it does not."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from dynamicrag_cli.adapters.retrievers import ann
from dynamicrag_cli.adapters.retrievers.vectors import ShardWriter, Vectors
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.presets import PRESETS

N, D = 3000, 32
RANDOM = np.random.default_rng(3)
# Clusters, as real embeddings have them.
CENTRES = RANDOM.standard_normal((40, D))
MATRIX = (CENTRES[RANDOM.integers(40, size=N)] + 0.5 * RANDOM.standard_normal((N, D))).astype(np.float16)
QUERIES = (CENTRES[:20] + 0.5 * RANDOM.standard_normal((20, D))).astype(np.float32)
SCORES = QUERIES @ MATRIX.astype(np.float32).T
BUILT = [name for name, preset in PRESETS.items() if preset.template]


def shards(folder: Path, matrix: np.ndarray = MATRIX, rows: int = 700) -> Vectors:
    writer = ShardWriter(folder, {})
    for start in range(0, len(matrix), rows):
        writer.add(matrix[start : start + rows])
    return Vectors(folder)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Vectors:
    return shards(tmp_path_factory.mktemp("shards"))


def made(folder: Path, vectors: Vectors, factory: str):
    assert list(ann.build(folder, vectors, factory))[-1] == len(vectors)
    index = ann.open_faiss(folder)
    ann.set_search(index, ann.default_search(index))
    return index


def same(found: tuple[np.ndarray, np.ndarray], k: int) -> None:
    """The best k by a matrix product; places of equal scores may differ."""
    rows, scores = found
    assert rows.shape == scores.shape == (len(QUERIES), k)
    assert np.allclose(scores, -np.sort(-SCORES, axis=1)[:, :k], atol=1e-4)
    assert np.allclose(np.take_along_axis(SCORES, rows, axis=1), scores, atol=1e-4)


@pytest.mark.parametrize("k", [1, 10, 1000, N])
def test_going_over_the_shards_equals_the_flat_index(tmp_path: Path, vectors: Vectors, k: int) -> None:
    scanned = ann.exact(vectors, QUERIES, k)
    same(scanned, k)
    flat = ann.search(vectors, made(tmp_path, vectors, "Flat"), QUERIES, k)
    same(flat, k)
    # Sums in another order differ in the last digits, so rows are compared as sets where k cuts between different scores.
    assert [set(row) for row in scanned[0][:, :1]] == [set(row) for row in flat[0][:, :1]]
    assert np.mean(scanned[0] == flat[0]) > 0.99


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_shares_of_the_shards_give_together_what_all_shards_give(tmp_path: Path, workers: int) -> None:
    """Also where equal scores stand in several shards, and with more workers than shards."""
    vectors = shards(tmp_path, np.concatenate([MATRIX[:900], MATRIX[:900], MATRIX[:900]]), rows=600)
    for k in (1, 7, 1000, 2700):
        shares = [ann.exact_share(tmp_path, number, workers)([(QUERIES, k)]) for number in range(workers)]
        whole = ann.exact(vectors, QUERIES, k)
        for found, expected in zip(ann.merged((one for (one,) in shares), len(QUERIES), k), whole, strict=True):
            assert np.array_equal(found, expected)
        # Of equal scores the first row.
        assert (whole[0][:, 0] < 900).all()


@pytest.mark.parametrize("name", BUILT)
def test_every_preset_is_built_opened_and_as_good_as_its_recall(tmp_path: Path, vectors: Vectors, name: str) -> None:
    preset = PRESETS[name]
    index = made(tmp_path, vectors, preset.factory(N, D))
    measured = ann.recall(vectors, index, preset.refine)
    assert measured["recall_queries"] == 1000
    assert measured["recall_at_10"] >= (1.0 if name == "flat" else 0.999 if name in ("fp16", "sq8") else 0.9)
    rows, scores = ann.search(vectors, index, QUERIES, 10, preset.refine)
    best = -np.sort(-SCORES, axis=1)[:, 9:10]
    assert np.mean(np.take_along_axis(SCORES, rows, axis=1) >= best - 1e-3) >= 0.85
    assert np.all(np.diff(scores, axis=1) <= 0)


def test_recall_is_the_share_of_the_exact_ten_without_the_question_itself(tmp_path: Path) -> None:
    vectors = shards(tmp_path, MATRIX[:500])
    # With one list of 8 searched, and nothing refined, some neighbours must be missed.
    index = made(tmp_path, vectors, "IVF8,Flat")
    ann.set_search(index, {"nprobe": 1})
    measured = ann.recall(vectors, index, 1)
    own = MATRIX[:500].astype(np.float32)
    truth = own @ own.T
    np.fill_diagonal(truth, -np.inf)
    hits = []
    _, found = index.search(own, 11)
    for row in range(500):
        kept = [other for other in found[row] if other not in (row, -1)][:10]
        hits.append(len({*kept} & {*np.argsort(-truth[row])[:10]}))
    assert measured == {"recall_at_10": pytest.approx(np.mean(hits) / 10, abs=0.005), "recall_queries": 500}
    assert measured["recall_at_10"] < 0.99
    ann.set_search(index, {"nprobe": 8})
    assert ann.recall(vectors, index, 1)["recall_at_10"] == 1.0


def test_equal_passages_cost_no_recall(tmp_path: Path) -> None:
    vectors = shards(tmp_path, np.repeat(MATRIX[:20], 30, axis=0))
    assert ann.recall(vectors, made(tmp_path, vectors, "Flat"), 1)["recall_at_10"] == 1.0


def test_one_passage_has_no_recall(tmp_path: Path) -> None:
    vectors = shards(tmp_path, MATRIX[:1])
    index = made(tmp_path, vectors, "Flat")
    assert ann.recall(vectors, index, 1) == {"recall_at_10": None, "recall_queries": 0}
    assert ann.search(vectors, index, QUERIES, 1)[0].tolist() == [[0]] * 20


def test_refining_orders_by_the_exact_score(tmp_path: Path, vectors: Vectors) -> None:
    index = made(tmp_path, vectors, "PQ4x4fs")
    coarse, fine = (ann.recall(vectors, index, refine)["recall_at_10"] for refine in (1, 20))
    assert fine > coarse + 0.1
    rows, scores = ann.search(vectors, index, QUERIES, 10, refine=20)
    assert np.allclose(np.take_along_axis(SCORES, rows, axis=1), scores, atol=1e-4)


def test_lists_that_are_too_short_for_top_k_are_made_up_from_the_shards(tmp_path: Path, vectors: Vectors) -> None:
    index = made(tmp_path, vectors, "IVF32,Flat")
    ann.set_search(index, {"nprobe": 1})
    assert (index.search(QUERIES, 500)[1] < 0).any()
    for refine in (1, 4):
        rows, scores = ann.search(vectors, index, QUERIES, 500, refine)
        assert (rows >= 0).all()
        assert np.isfinite(scores).all()
    same(ann.search(vectors, index, QUERIES, N), N)


@pytest.mark.parametrize("factory", ["Flat", "SQfp16", "IVF8,SQfp16", "HNSW8_SQfp16", "IVF8,PQ8x4fs"])
def test_what_is_opened_is_mapped_and_a_cut_file_is_refused(tmp_path: Path, vectors: Vectors, factory: str) -> None:
    index = made(tmp_path, vectors, factory)
    with Path("/proc/self/maps").open() as maps:
        assert any(str(tmp_path / ann.FILE) in line for line in maps)
    del index
    content = (tmp_path / ann.FILE).read_bytes()
    for wrong in (content[: len(content) // 2], b"nonsense", b""):
        (tmp_path / ann.FILE).write_bytes(wrong)
        with pytest.raises(InputError, match="missing or damaged"):
            ann.open_faiss(tmp_path)


@pytest.mark.parametrize(("factory", "known"), [("Flat", {}), ("IVF8,Flat", {"nprobe": 8}), ("HNSW8", {"efSearch": 128})])
def test_settings_of_a_search(tmp_path: Path, vectors: Vectors, factory: str, known: dict) -> None:
    index = made(tmp_path, vectors, factory)
    assert ann.default_search(index) == known
    for name in {"nprobe", "efSearch"} - {*known}:
        with pytest.raises(UsageError, match=f"this index has no {name}"):
            ann.set_search(index, {name: 3})


@pytest.mark.parametrize(("factory", "words"), [("IFV8", "cannot build 'IFV8'"), ("IVF9000,Flat", "cannot build 'IVF9000,Flat'")])
def test_a_factory_that_faiss_cannot_make(tmp_path: Path, vectors: Vectors, factory: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        list(ann.build(tmp_path, vectors, factory))


def test_without_a_gpu_the_index_stays_where_it_is() -> None:
    if faiss.get_num_gpus():
        pytest.skip("there is a GPU here")
    assert ann.to_gpus(faiss.IndexFlatIP(4)) is None
