"""Shards: what is finished stays, what is damaged is named, and rows come back as they went in."""

from pathlib import Path

import numpy as np
import pytest

from dynamicrag_cli.adapters.retrievers import vectors as module
from dynamicrag_cli.adapters.retrievers.vectors import ShardWriter, Vectors, in_shards
from dynamicrag_cli.core.errors import InputError

MATRIX = np.random.default_rng(0).standard_normal((23, 4)).astype(np.float16)
KEY = {"model": "m", "encoding": {"metric": "ip"}}


def chunks(size: int, first: int = 0) -> list[np.ndarray]:
    return [MATRIX[row : row + size].astype(np.float32) for row in range(first, len(MATRIX), size)]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "ROWS", 8)
    assert list(in_shards(chunks(3), ShardWriter(tmp_path, KEY))) == [3, 6, 9, 12, 15, 18, 21, 23]
    return tmp_path


def test_rows_come_back_as_float16_whatever_the_chunks(written: Path) -> None:
    found = Vectors(written)
    assert (len(found), found.dimension, found.nbytes) == (23, 4, MATRIX.nbytes)
    assert [len(part) for part in found.parts] == [9, 9, 5]
    assert all(isinstance(part, np.memmap) and part.dtype == np.float16 for part in found.parts)
    assert np.array_equal(np.concatenate([block for _, block in found.blocks()]), MATRIX)
    assert [start for start, _ in found.blocks()] == [0, 9, 18]
    shares = [[start for start, _ in found.blocks(share, 4)] for share in range(4)]
    assert shares == [[], [0], [9], [18]]
    rows = np.asarray([22, 0, 9, 8, 9])
    assert np.array_equal(found.take(rows), MATRIX[rows])


def test_an_interrupted_run_goes_on_behind_the_last_finished_shard(tmp_path: Path, written: Path) -> None:
    (written / "vectors/00002.npy").rename(tmp_path / "kept.npy")
    listed = written / "vectors/shards.json"
    whole = listed.read_text()
    # As after a crash: the third shard is half written under its other name and not listed.
    (written / "vectors/00002.finishing").write_bytes(b"half")
    import json

    left = json.loads(whole)
    left["shards"].pop()
    listed.write_text(json.dumps(left))
    writer = ShardWriter(written, KEY)
    assert writer.done == 18
    assert list(in_shards(chunks(3, 18), writer)) == [21, 23]
    assert json.loads(listed.read_text()) == json.loads(whole)
    assert (written / "vectors/00002.npy").read_bytes() == (tmp_path / "kept.npy").read_bytes()


def test_shards_of_other_settings_are_not_continued(written: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds 23 passages .* \(encoding.metric: ip -> cosine\); repeat that run, or .*--fresh"
    ):
        ShardWriter(written, {"model": "m", "encoding": {"metric": "cosine"}})


def test_a_damaged_shard_is_not_continued(written: Path) -> None:
    path = written / "vectors/00001.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"00001\.npy: the shard of an unfinished run is missing or damaged"):
        ShardWriter(written, KEY)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_a_missing_or_truncated_shard_does_not_open(written: Path, damage) -> None:
    damage(written / "vectors/00001.npy")
    with pytest.raises(InputError, match="a shard of vectors is missing or damaged"):
        Vectors(written)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_what_float16_cannot_hold_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(InputError, match="rows 0 to 1: a vector holds NaN, or numbers beyond float16"):
        ShardWriter(tmp_path, KEY).add(np.asarray([[value, 1]], dtype=np.float32))
    assert not list((tmp_path / "vectors").iterdir())
