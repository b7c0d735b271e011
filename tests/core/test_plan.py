"""The plan is arithmetic: bytes by hand, times in proportion, and a choice that fits."""

import pytest

from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.plan import Speed, parse_count, plan, recommended
from dynamicrag_cli.core.presets import PRESETS

SPEEDS = {name: Speed(1000, 1.0, 1e-5) for name in PRESETS}


def rows(n: int, ram: float, gpu: float = 0.0, d: int = 100):
    return {row.preset: row for row in plan(n, d, ram, gpu, SPEEDS)}


@pytest.mark.parametrize(("text", "count"), [("45000", 45000), ("45k", 45000), ("21M", 21_000_000), (" 1.5b ", 1_500_000_000)])
def test_counts(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "many", "-3", "0", "0.1", "3T", "1e6"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(UsageError, match="is no number of passages"):
        parse_count(text)


def test_bytes_and_times_of_a_flat_index() -> None:
    flat = rows(1_000_000, 1e12)["flat"]
    assert (flat.index_bytes, flat.ram_bytes) == (400_000_000, 1_900_000_000)
    assert flat.disk_bytes == 400_000_000 + 200_000_000 + 700_000_000
    assert flat.build_s == pytest.approx(1000)
    assert flat.questions_per_s == pytest.approx(100)


def test_scan_costs_no_index_and_always_fits() -> None:
    scan = rows(10**9, 2e9)["scan"]
    assert (scan.index_bytes, scan.build_s, scan.fits_ram, scan.fits_gpu) == (0, 0, True, False)


def test_what_fits() -> None:
    found = rows(1_000_000, 1.75e9, gpu=0.22e9)
    assert {name for name, row in found.items() if row.fits_ram} == {"fp16", "sq8", "ivf", "ivfpq", "scan"} - (
        {"ivf"} if found["ivf"].ram_bytes > 1.75e9 else set()
    )
    # Half precision on the GPU; a graph has no form there.
    assert found["flat"].fits_gpu
    assert not found["hnsw"].fits_gpu


def test_the_most_exact_of_the_fast_ones_that_fit() -> None:
    found = rows(1_000_000, 1e12)
    exact = [row for row in found.values() if row.recall == 1]
    assert recommended(list(found.values()), 1) in {row.preset for row in exact}
    # Fast enough are only those that do not read everything.
    assert PRESETS[recommended(list(found.values()), 1000)].reads != "all"
    assert recommended(list(found.values()), 1e12) == max(found.values(), key=lambda row: row.questions_per_s).preset


def test_where_nothing_fits_the_shards_are_scanned() -> None:
    assert recommended(list(rows(10**9, 2e9).values()), 20) == "scan"


def test_learning_codes_and_refining_do_not_grow_with_the_corpus() -> None:
    speed = Speed(5000, 1.0, 1e-5, codes_s=2.0, refine_s=3e-3)
    (row,) = plan(5_000_000, 100, 1e12, 0, {"ivfpq": speed})
    growth = PRESETS["ivfpq"].build_work(5_000_000, 100) / PRESETS["ivfpq"].build_work(5000, 100)
    assert row.build_s == pytest.approx(growth + 2)
    growth = PRESETS["ivfpq"].search_work(5_000_000, 100) / PRESETS["ivfpq"].search_work(5000, 100)
    assert 1 / row.questions_per_s == pytest.approx(1e-5 * growth + 3e-3)
