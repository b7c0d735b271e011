"""The vectors of a corpus as float16 shards with checksums, written one by one, so that encoding can go on after a crash.

`vectors/shards.json` lists the finished shards. A shard is written aside, synced and renamed before it is listed.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dynamicrag_cli.adapters.files.manifest import differences, file_hash, same
from dynamicrag_cli.core.errors import InputError

FOLDER = "vectors"
_LIST = "shards.json"
# At 768 dimensions 25 MB; what a crash costs is at most the encoding of so many passages.
ROWS = 16_384
_LARGEST = float(np.finfo(np.float16).max)


class ShardWriter:
    """Shards of an index folder that is being built; those that an interrupted run with the same key has left are kept.

    Raises:
        InputError: An unfinished run with another key has left shards, or one of them is damaged.
    """

    def __init__(self, folder: Path, key: dict[str, Any]) -> None:
        self.folder, self.key = folder / FOLDER, key
        self.shards: list[dict[str, Any]] = []
        self.folder.mkdir(exist_ok=True)
        if not (self.folder / _LIST).exists():
            return
        left = json.loads((self.folder / _LIST).read_text(encoding="utf-8"))
        if not same(left["key"], key):
            rows, changed = sum(shard["rows"] for shard in left["shards"]), "; ".join(differences(left["key"], key))
            raise InputError(
                f"{folder} holds {rows} passages that an unfinished run encoded with other settings ({changed}); "
                "repeat that run, or throw them away with --fresh"
            )
        for shard in left["shards"]:
            path = self.folder / shard["file"]
            if not path.is_file() or file_hash(path) != shard["sha256"]:
                raise InputError(f"{path}: the shard of an unfinished run is missing or damaged; start anew with --fresh")
        self.shards = left["shards"]

    @property
    def done(self) -> int:
        """Rows that are finished."""
        return sum(shard["rows"] for shard in self.shards)

    def add(self, vectors: np.ndarray) -> None:
        """Write the vectors of the next rows, shape (n_rows, dimension), as a shard.

        Raises:
            InputError: A number does not fit float16.
        """
        if vectors.size and not np.abs(vectors).max() <= _LARGEST:
            raise InputError(f"rows {self.done} to {self.done + len(vectors)}: a vector holds NaN, or numbers beyond float16")
        path = self.folder / f"{len(self.shards):05d}.npy"
        staged = path.with_suffix(".finishing")
        with staged.open("wb") as file:
            np.save(file, vectors.astype(np.float16), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        entry = {"file": path.name, "rows": len(vectors), "sha256": file_hash(staged)}
        staged.replace(path)
        self.shards.append(entry)
        listed = self.folder / (_LIST + ".finishing")
        listed.write_text(json.dumps({"key": self.key, "shards": self.shards}, indent=1), encoding="utf-8")
        listed.replace(self.folder / _LIST)


class Vectors:
    """The vectors of an index, mapped and not loaded.

    Raises:
        InputError: A shard is missing or truncated.
    """

    def __init__(self, folder: Path) -> None:
        try:
            shards = json.loads((folder / FOLDER / _LIST).read_text(encoding="utf-8"))["shards"]
            self.parts = [np.load(folder / FOLDER / shard["file"], mmap_mode="r", allow_pickle=False) for shard in shards]
        except (OSError, ValueError, EOFError, KeyError) as error:
            raise InputError(f"{folder}: a shard of vectors is missing or damaged ({error}); build the index again") from error
        self.starts = np.cumsum([0, *(len(part) for part in self.parts)])
        self.dimension = int(self.parts[0].shape[1])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def nbytes(self) -> int:
        """Bytes of all shards."""
        return sum(part.nbytes for part in self.parts)

    def blocks(self, share: int = 0, of: int = 1) -> Iterator[tuple[int, np.ndarray]]:
        """First row and float32 vectors of one shard after the other: of all, or of one of several equal shares, from 0."""
        first, end = (number * len(self.parts) // of for number in (share, share + 1))
        for place in range(first, end):
            yield int(self.starts[place]), self.parts[place].astype(np.float32)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Float32 vectors of some rows, shape (n_rows, dimension), in the order asked for.

        Each is read once and in the order of the files, which halves the time where they are not in memory.
        """
        wanted, places = np.unique(rows, return_inverse=True)
        found = np.empty((len(wanted), self.dimension), dtype=np.float32)
        ends = np.searchsorted(wanted, self.starts)
        for part, start, first, end in zip(self.parts, self.starts, ends, ends[1:], strict=False):
            if first < end:
                found[first:end] = part[wanted[first:end] - start]
        return found[places]


def in_shards(chunks: Iterable[np.ndarray], writer: ShardWriter) -> Iterator[int]:
    """Gather chunks of vectors into shards of `ROWS`; yields the number of rows that have arrived."""
    waiting: list[np.ndarray] = []
    arrived, held = writer.done, 0
    for chunk in chunks:
        waiting.append(chunk)
        arrived, held = arrived + len(chunk), held + len(chunk)
        if held >= ROWS:
            writer.add(np.concatenate(waiting))
            waiting, held = [], 0
        yield arrived
    if waiting:
        writer.add(np.concatenate(waiting))
