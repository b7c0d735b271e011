"""The passage store of an index: `passages.arrow`, an Arrow IPC file that is mapped, so that text costs page cache and not heap.

Every record batch but the last has `ROWS` passages, so a row is found by division.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import msgspec
import pyarrow as pa

from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Passage

ROWS = 1024
FILE = "passages.arrow"
# `meta` is JSON, and null for a passage that has none.
_SCHEMA = pa.schema([(name, pa.large_string()) for name in ("id", "title", "text", "meta")])


def write_store(folder: Path, passages: Iterable[Passage]) -> int:
    """Write passages row by row, a record batch in memory at a time; returns their number."""
    waiting, count = iter(passages), 0
    with pa.OSFile(str(folder / FILE), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        while rows := list(islice(waiting, ROWS)):
            metas = [msgspec.json.encode(row.meta).decode() if row.meta else None for row in rows]
            columns = [[row.id for row in rows], [row.title for row in rows], [row.text for row in rows], metas]
            writer.write_batch(pa.record_batch([pa.array(column, pa.large_string()) for column in columns], schema=_SCHEMA))
            count += len(rows)
    return count


class PassageStore:
    """Read access by row number, from 0; opening it reads the file's footer and no passage.

    Raises:
        InputError: The file is missing, cut, or of an earlier version of drag.
    """

    def __init__(self, folder: Path) -> None:
        if (folder / "passages.jsonl").exists() and not (folder / FILE).exists():
            raise InputError(f"{folder}: the index of an earlier version, whose passages are in JSONL; build the index again")
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(folder / FILE)))
            if reader.schema != _SCHEMA:
                raise ValueError(f"its columns are {reader.schema.names}")
            self._n_batches = reader.num_record_batches
            # The columns of a batch are views of the file; what is kept of them is where they begin.
            self._columns = lru_cache(maxsize=256)(lambda batch: reader.get_batch(batch).columns)
            last = self._n_batches - 1
            self._length = last * ROWS + len(self._columns(last)[0]) if self._n_batches else 0
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: the passage store is missing or damaged ({error}); build the index again") from error

    def __len__(self) -> int:
        return self._length

    def get(self, rows: Sequence[int]) -> list[Passage]:
        """The passages of some rows, in the order asked for."""
        return [self._passage(*divmod(row, ROWS)) for row in rows]

    def _passage(self, batch: int, place: int) -> Passage:
        return _passage(*(column[place].as_py() for column in self._columns(batch)))

    def __iter__(self) -> Iterator[Passage]:
        for number in range(self._n_batches):
            yield from map(_passage, *(column.to_pylist() for column in self._columns(number)))


def _passage(name: str, title: str, text: str, meta: str | None) -> Passage:
    return Passage(id=name, title=title, text=text, meta=msgspec.json.decode(meta) if meta else {})


def text_of(passage: Passage) -> str:
    """What is indexed of a passage: title and text."""
    return f"{passage.title} {passage.text}" if passage.title else passage.text
