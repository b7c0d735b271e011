"""Presets: factory strings, and bytes that are those of the files FAISS writes."""

import faiss
import numpy as np
import pytest

from dynamicrag_cli.core.presets import PRESETS, lists_for, probes_for, shard_bytes, training_rows

BUILT = [name for name, preset in PRESETS.items() if preset.template]


@pytest.mark.parametrize(
    ("n", "lists"),
    [(1, 1), (60, 1), (100, 2), (1000, 16), (45_000, 512), (100_000, 1024), (1_000_000, 4096), (21_015_324, 16_384)],
)
def test_lists_grow_with_the_root_and_can_all_be_trained(n: int, lists: int) -> None:
    assert lists_for(n) == lists
    assert lists * 39 <= training_rows(n) <= n or lists == 1
    assert 1 <= probes_for(lists) <= lists


def test_factories() -> None:
    made = {name: preset.factory(1_000_000, 384) for name, preset in PRESETS.items()}
    assert made == {
        "flat": "Flat",
        "fp16": "SQfp16",
        "sq8": "SQ8",
        "ivf": "IVF4096,SQfp16",
        "ivfpq": "IVF4096,PQ192x4fs",
        "hnsw": "HNSW32_SQfp16",
        "scan": "",
    }


@pytest.mark.parametrize("name", BUILT)
def test_the_size_is_that_of_the_file(name: str) -> None:
    n, d = 3000, 32
    vectors = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    index = faiss.index_factory(d, PRESETS[name].factory(n, d), faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    size = len(faiss.serialize_index(index))
    # Codes of a fast scan are stored in blocks of 32, of which many lists of this small index are not full.
    assert PRESETS[name].size(n, d) == pytest.approx(size, rel=0.35 if name == "ivfpq" else 0.05)


@pytest.mark.parametrize("name", PRESETS)
def test_work_grows_with_n_and_only_exact_kinds_grow_as_fast(name: str) -> None:
    preset = PRESETS[name]
    growth = preset.search_work(16_000_000, 384) / preset.search_work(1_000_000, 384)
    assert (growth == 16) == (preset.reads == "all")
    assert 1 < growth <= 16
    assert preset.build_work(16_000_000, 384) >= 16 * preset.build_work(1_000_000, 384)


def test_twenty_one_million_passages() -> None:
    assert PRESETS["flat"].size(21_015_324, 768) / 1e9 == pytest.approx(64.6, abs=0.1)
    assert shard_bytes(21_015_324, 768) / 1e9 == pytest.approx(32.3, abs=0.1)
    assert PRESETS["ivfpq"].size(21_015_324, 768) / 1e9 == pytest.approx(4.25, abs=0.1)
