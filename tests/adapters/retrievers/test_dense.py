"""The dense index: exact cosine search with the tiny encoder."""

import json
import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest

from dynamicrag_cli.adapters.encoder import brings_pooling
from dynamicrag_cli.adapters.retrievers import dense
from dynamicrag_cli.adapters.retrievers.dense import DenseIndex, encode, load_encoder
from dynamicrag_cli.adapters.retrievers.store import PassageStore, text_of, write_store
from dynamicrag_cli.adapters.retrievers.vectors import Vectors
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.records import Passage

PASSAGES = [Passage(id=str(i), title=f"Title {i}", text=f"Passage {i} on rivers and the moon. " * (1 + i % 3)) for i in range(11)]
QUESTIONS = ["Which river?", "a moon of Jupiter", "17"]


@pytest.fixture
def built(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict]:
    monkeypatch.setattr(dense, "_CHUNK", 4)
    settings = {"model": str(tiny_encoder), "device": "cpu", "batch_size": 3}
    write_store(tmp_path, PASSAGES)
    return tmp_path, settings | built_with(tmp_path, settings, [0, 4, 8, 11, 11])


def built_with(folder: Path, settings: dict, expected: list[int] | None = None) -> dict:
    """Run a build to its end; what it returns is what the manifest would keep."""
    building, counts = DenseIndex.build(folder, PassageStore(folder), settings), []
    while True:
        try:
            counts.append(next(building))
        except StopIteration as end:
            assert expected is None or counts == expected
            return end.value


def opened(folder: Path, settings: dict) -> DenseIndex:
    return DenseIndex(folder, PassageStore(folder), settings)


def test_search_is_exact_by_cosine(built) -> None:
    index = opened(*built)
    rows, scores = index.search(QUESTIONS, 5)
    vectors = index.encoder.encode([text_of(p) for p in PASSAGES])
    asked = index.encoder.encode(QUESTIONS)
    cosines = (asked @ vectors.T) / np.linalg.norm(asked, axis=1)[:, None] / np.linalg.norm(vectors, axis=1)
    # Passages are kept in half precision.
    assert np.allclose(scores, -np.sort(-cosines, axis=1)[:, :5], atol=2e-3)
    assert np.allclose(np.take_along_axis(cosines, rows, axis=1), scores, atol=2e-3)


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


def faiss_of(folder: Path, n: int, d: int) -> None:
    index = faiss.IndexFlatIP(d)
    index.add(np.zeros((n, d), dtype=np.float32))
    faiss.write_index(index, str(folder / "dense.faiss"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "dense.faiss").unlink(), "missing or damaged"),
        (lambda folder: (folder / "dense.faiss").write_bytes(b"nonsense"), "missing or damaged"),
        (lambda folder: faiss_of(folder, 11, 7), "11 vectors of 7 dimensions, but the shards hold 11 of 32"),
        (lambda folder: faiss_of(folder, 10, 32), "10 vectors of 32 dimensions, but the shards hold 11 of 32"),
        (lambda folder: (folder / "vectors/00000.npy").unlink(), "a shard of vectors is missing or damaged"),
        (lambda folder: write_store(folder, PASSAGES[:9]), "11 vectors for 9 passages"),
    ],
    ids=["gone", "broken", "other-width", "fewer", "no-shard", "other-corpus"],
)
def test_a_damaged_index_is_an_input_error(built, damage, words: str) -> None:
    damage(built[0])
    with pytest.raises(InputError, match=words):
        opened(*built)


def test_an_index_of_another_encoder_is_refused(built, tmp_path: Path, tiny_encoder: Path) -> None:
    folder, settings = built
    other = tmp_path / "other"
    shutil.copytree(tiny_encoder, other)
    # The same content at another place is the same encoder.
    opened(folder, settings | {"model": str(other)})
    opened(folder, settings | {"model": "gone", "encoders": [str(other)]})
    with pytest.raises(InputError, match=r"not found \(gone is not there\); say where a copy lies with --encoder"):
        opened(folder, settings | {"model": "gone"})
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 0.1}))
    with pytest.raises(InputError, match=r"not found \(.*other differs\)"):
        opened(folder, settings | {"model": str(other)})
    # Of several indexes each takes the encoder that it was built with.
    assert opened(folder, settings | {"encoders": [str(other)]}).model == str(tiny_encoder)


def test_a_folder_is_taken_for_a_hub_s_model_by_its_name(built, tmp_path: Path, tiny_encoder: Path) -> None:
    folder, settings = built
    # A hub's model is recorded by its id, which says nothing of its content.
    hub = settings | {"model": "owner/tiny", "model_content": "owner/tiny"}
    copy, other = tmp_path / "tiny", tmp_path / "other"
    for place in (copy, other):
        shutil.copytree(tiny_encoder, place)
    index = opened(folder, hub | {"encoders": [str(other), str(copy)]})
    assert index.model == str(copy)
    assert f"encoded by {copy}, taken for owner/tiny by its name" in index.summary()


def test_an_index_of_an_earlier_version_is_refused(built) -> None:
    with pytest.raises(InputError, match="built by an earlier version"):
        opened(built[0], {"model": built[1]["model"]})


def test_prefixes_and_metric_are_those_of_building(tmp_path: Path, tiny_encoder: Path) -> None:
    write_store(tmp_path, PASSAGES)
    chosen = {"query_prefix": "ask: ", "passage_prefix": "read: ", "metric": "ip", "pooling": "cls"}
    settings = {"model": str(tiny_encoder), "device": "cpu", **chosen}
    index = opened(tmp_path, {"model": str(tiny_encoder)} | built_with(tmp_path, settings))
    assert index.settings["encoding"] == chosen
    encoder = load_encoder(str(tiny_encoder), "cpu", "cls")
    passages = encoder.encode([f"read: {text_of(p)}" for p in PASSAGES])
    asked = encoder.encode([f"ask: {q}" for q in QUESTIONS])
    assert np.allclose(index.vectors.take(np.arange(11)), passages, atol=2e-3)
    assert not np.allclose(np.linalg.norm(passages, axis=1), 1, atol=0.01)
    _, scores = index.search(QUESTIONS, 3)
    assert np.allclose(scores, -np.sort(-(asked @ passages.T), axis=1)[:, :3], rtol=1e-3, atol=2e-3)


def test_a_plain_folder_of_a_known_family_is_pooled_as_the_table_says(tmp_path: Path, tiny_encoder: Path) -> None:
    """What has no modules.json is a bare transformer; the name of the folder says how it wants to be used."""
    plain = tmp_path / "bge-tiny"
    shutil.copytree(tiny_encoder, plain, ignore=shutil.ignore_patterns("modules.json", "*_Pooling", "*sentence*"))
    assert not brings_pooling(str(plain))
    assert brings_pooling(str(tiny_encoder))
    write_store(tmp_path, PASSAGES)
    kept = built_with(tmp_path, {"model": str(plain), "device": "cpu"})
    assert (kept["family"], kept["encoding"]["pooling"], kept["encoding"]["metric"]) == ("bge-", "cls", "cosine")
    cls = load_encoder(str(plain), "cpu", "cls").encode([text_of(p) for p in PASSAGES], normalize_embeddings=True)
    assert np.allclose(Vectors(tmp_path).take(np.arange(11)), cls, atol=2e-3)
    mean = load_encoder(str(plain), "cpu").encode([text_of(p) for p in PASSAGES], normalize_embeddings=True)
    assert not np.allclose(cls, mean, atol=0.01)


@pytest.mark.slow
def test_two_processes_encode_the_same_vectors(built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, settings = built
    one = Vectors(folder).take(np.arange(11))
    two = tmp_path / "two"
    two.mkdir()
    write_store(two, PASSAGES)
    built_with(two, {"model": settings["model"], "device": "cpu,cpu"}, [0, 8, 11, 11])
    assert np.allclose(Vectors(two).take(np.arange(11)), one, atol=1e-3)


def test_scan_equals_the_flat_index(built) -> None:
    folder, settings = built
    flat, scan = opened(folder, settings), opened(folder, settings | {"scan": True})
    assert flat.index is not None
    assert scan.index is None
    for k in (1, 5, 11):
        (rows, scores), (others, same) = flat.search(QUESTIONS, k), scan.search(QUESTIONS, k)
        assert np.array_equal(rows, others)
        assert np.allclose(scores, same, atol=1e-6)
    assert "Flat" in flat.summary()
    assert "recall@10 1.000 of exact search (11 queries)" in flat.summary()
    assert "exact: 1 shard(s) read" in scan.summary()
    with pytest.raises(UsageError, match="no nprobe"):
        opened(folder, settings | {"scan": True, "nprobe": 3})


def test_a_flat_index_beyond_the_free_memory_is_left_for_its_shards(built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "memory", lambda: (10**9, 1000))
    index = opened(*built)
    assert index.index is None
    assert "larger than the memory that is free" in index.summary()


def test_a_preset_beyond_the_free_memory_is_refused_and_the_vectors_are_kept(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store(tmp_path, PASSAGES)
    monkeypatch.setattr(dense, "memory", lambda: (10**9, 1000))
    settings = {"model": str(tiny_encoder), "device": "cpu"}
    with pytest.raises(UsageError, match=r"GB of memory while it is built.*--preset scan"):
        built_with(tmp_path, settings)
    kept = built_with(tmp_path, settings | {"preset": "scan"}, [11])
    assert opened(tmp_path, settings | kept).search(QUESTIONS, 2)[0].shape == (3, 2)


def test_a_gpu_that_is_not_there_is_said_and_the_cpu_searches(built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "load_encoder", lambda model, device, pooling: load_encoder(model, "cpu", pooling))
    if faiss.get_num_gpus():
        pytest.skip("there is a GPU here")
    index = opened(built[0], built[1] | {"device": "cuda"})
    assert "searched on the CPU" in index.summary()
    assert index.search(QUESTIONS, 2)[0].shape == (3, 2)


def test_settings_of_a_search_are_recorded_and_can_be_changed(tmp_path: Path, tiny_encoder: Path) -> None:
    many = [Passage(id=str(i), title="", text=f"passage {i * 7919 % 1000} of {i}") for i in range(300)]
    write_store(tmp_path, many)
    settings = {"model": str(tiny_encoder), "device": "cpu", "factory": "IVF6,Flat", "nprobe": 2}
    kept = settings | built_with(tmp_path, settings)
    assert kept["search"] == {"nprobe": 2, "refine": 1}
    recorded = {**kept, "nprobe": None}
    assert "IVF6,Flat, " in opened(tmp_path, recorded).summary()
    assert opened(tmp_path, recorded).index.nprobe == 2
    wider = opened(tmp_path, recorded | {"nprobe": 6})
    assert wider.index.nprobe == 6
    assert "as built" in wider.summary()
    assert "as built" not in opened(tmp_path, recorded).summary()
    exact, _ = opened(tmp_path, recorded | {"scan": True}).search(QUESTIONS, 10)
    assert np.array_equal(wider.search(QUESTIONS, 10)[0], exact)
