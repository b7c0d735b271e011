"""The passage store of an index: passages.jsonl with the byte offset of every row, so that text is read on demand."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Passage

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Passage)


def write_store(folder: Path, passages: Iterable[Passage]) -> int:
    """Write passages row by row; returns their number."""
    offsets = [0]
    with (folder / "passages.jsonl").open("wb") as file:
        for passage in passages:
            offsets.append(offsets[-1] + file.write(_encoder.encode(passage) + b"\n"))
    np.save(folder / "offsets.npy", np.asarray(offsets, dtype=np.int64), allow_pickle=False)
    return len(offsets) - 1


class PassageStore:
    """Read access by row number; the file is mapped, not loaded.

    Raises:
        InputError: A file is missing or does not have the size that the offsets say.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.offsets = np.load(folder / "offsets.npy", mmap_mode="r", allow_pickle=False)
            size = (folder / "passages.jsonl").stat().st_size
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{folder}: the passage store is missing or damaged ({error}); build the index again") from error
        if int(self.offsets[-1]) != size:
            raise InputError(
                f"{folder}: passages.jsonl has {size} bytes, expected {int(self.offsets[-1])}; build the index again"
            )
        self.data = np.memmap(folder / "passages.jsonl", mode="r") if size else np.zeros(0, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def get(self, rows: Sequence[int]) -> list[Passage]:
        """The passages of some rows, in the order asked for."""
        return [_decoder.decode(self.data[self.offsets[row] : self.offsets[row + 1]].tobytes()) for row in rows]

    def __iter__(self) -> Iterator[Passage]:
        for row in range(len(self)):
            yield self.get([row])[0]


def text_of(passage: Passage) -> str:
    """What is indexed of a passage: title and text."""
    return f"{passage.title} {passage.text}" if passage.title else passage.text
