"""JSON lines in and out: plain, gzip and zstandard by file name, `-` for the standard streams."""

import gzip
import hashlib
import io
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, cast

import msgspec
import zstandard

from dynamicrag_cli.core.doors import admit
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Record, Reject

STREAM = "-"
# Packings that we do not read.
FOREIGN = (".bz2", ".xz", ".zip", ".lz4", ".7z", ".rar")
MAX_LINE_BYTES = 64 * 2**20
# A record with twenty passages is longer than Python's own buffer, which would be filled several times per line.
BUFFER_BYTES = 2**20
R = TypeVar("R", bound=Record)

encoder = msgspec.json.Encoder()


def check_packing(path: str) -> None:
    """Refuse a file that is packed in a way that we do not read.

    Raises:
        InputError: By its name it is.
    """
    if path.endswith(FOREIGN):
        raise InputError(f"{path}: unpack it first, or pack it as .gz or .zst")


def packed(content: bytes, name: str) -> bytes:
    """A document as its name promises it: gzip, zstandard or as it is; equal content gives equal bytes."""
    if name.endswith(".gz"):
        return gzip.compress(content, mtime=0)
    return zstandard.ZstdCompressor(level=6).compress(content) if name.endswith(".zst") else content


def open_read(path: str) -> BinaryIO:
    """Open a file for reading bytes, decompressed.

    Raises:
        InputError: There is no such file, it is a folder, or it is packed in another way than by gzip or zstandard.
    """
    if path == STREAM:
        return sys.stdin.buffer
    if not Path(path).exists():
        raise InputError(f"{path}: no such file")
    if Path(path).is_dir():
        raise InputError(f"{path}: is a folder, expected a JSONL file")
    check_packing(path)
    if path.endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.endswith(".zst"):
        return cast(BinaryIO, io.BufferedReader(_ZstdFile(path)))
    return Path(path).open("rb", buffering=BUFFER_BYTES)


class _ZstdFile(io.RawIOBase):
    """A decompressed view of a zstandard file of one or more frames.

    zstandard's own reader ends a cut file without a word; this one raises EOFError.
    """

    def __init__(self, path: str) -> None:
        self.file = Path(path).open("rb")  # noqa: SIM115 - closed with this object
        self.frame = zstandard.ZstdDecompressor().decompressobj()
        self.rest = b""
        self.ready = memoryview(b"")
        self.started = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            data = self.rest or self.file.read(2**17)
            self.rest = b""
            if not data:
                if self.started and not self.frame.eof:
                    raise EOFError("the file is cut")
                return 0
            if self.frame.eof:
                self.frame = zstandard.ZstdDecompressor().decompressobj()
            self.started = True
            self.ready = memoryview(self.frame.decompress(data))
            self.rest = self.frame.unused_data
        count = min(len(buffer), len(self.ready))
        buffer[:count], self.ready = self.ready[:count], self.ready[count:]
        return count

    def close(self) -> None:
        self.file.close()
        super().close()


def lines(path: str) -> Iterator[tuple[int, bytes]]:
    """The non-empty lines of a file with their numbers, from 1; a byte order mark at the start is dropped."""
    with open_read(path) as file:
        number = 0
        try:
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                if number == 1 and line.startswith(b"\xef\xbb\xbf"):
                    line = line[3:]
                if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                    # A stub of an over-long line: it cannot decode, so it is rejected, and memory stays bounded.
                    line = line[:1000]
                    while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                        pass
                if line and not line.isspace():
                    yield number, line
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            raise InputError(f"{path}: the compressed file is damaged after line {number} ({error})") from None


def survey(path: str) -> tuple[str, int | None]:
    """SHA-256 of a file's bytes and, in the same pass, its number of lines: empty ones too, None of a compressed file."""
    digest, count, last = hashlib.sha256(), 0, b"\n"
    with Path(path).open("rb") as file:
        while block := file.read(BUFFER_BYTES):
            digest.update(block)
            count, last = count + block.count(b"\n"), block[-1:]
    return digest.hexdigest(), None if path.endswith((".gz", ".zst")) else count + (last != b"\n")


class Reader(Generic[R]):
    """Reads records of one kind, with every line that cannot be used as a `Reject`; so is a repeated id, if `unique`.

    Attributes:
        strange: How often each unknown field was moved to `meta`.
    """

    def __init__(self, path: str, kind: type[R], *, unique: bool = True) -> None:
        self.path, self.kind, self.unique = path, kind, unique
        self.strange: dict[str, int] = {}
        self._strict = msgspec.json.Decoder(kind)
        self._loose = msgspec.json.Decoder()
        self._seen: set[str] = set()

    def __iter__(self) -> Iterator[R | Reject]:
        return (item for _, item in self.numbered())

    def numbered(self) -> Iterator[tuple[int, R | Reject]]:
        """Line numbers, from 1, with what the lines hold."""
        for number, line in lines(self.path):
            yield number, self._read(number, line)

    def _read(self, number: int, line: bytes) -> R | Reject:
        try:
            record = self._decode(line)
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            return Reject(line=number, id=None, reason=str(error), record=line[:2000].decode("utf-8", "replace").rstrip("\n"))
        if not self.unique:
            return record
        name = str(getattr(record, "id", number))
        if name in self._seen:
            return Reject(line=number, id=name, reason=f"the id {name!r} was met before")
        self._seen.add(name)
        return record

    def _decode(self, line: bytes) -> R:
        try:
            return self._strict.decode(line)
        except msgspec.ValidationError:
            record, strange = admit(self._loose.decode(line), self.kind)
            for name in strange:
                self.strange[name] = self.strange.get(name, 0) + 1
            return record


def finish(source: Path, target: Path) -> None:
    """Publish a finished plain file: compress by the target's name, fsync, rename; the source is removed."""
    if not target.name.endswith((".gz", ".zst")):
        with source.open("rb") as plain:
            os.fsync(plain.fileno())
        source.replace(target)
        return
    staged = target.with_name(target.name + ".finishing")
    with source.open("rb") as plain, staged.open("wb") as raw:
        _compress(plain, raw, target.name)
        raw.flush()
        os.fsync(raw.fileno())
    staged.replace(target)
    source.unlink()


def _compress(plain: BinaryIO, raw: BinaryIO, name: str) -> None:
    if name.endswith(".gz"):
        # No name and no time in the header: equal records give equal bytes.
        sink = cast(BinaryIO, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0))
    else:
        sink = cast(BinaryIO, zstandard.ZstdCompressor(level=6).stream_writer(raw, closefd=False))
    with sink:
        while block := plain.read(2**20):
            sink.write(block)
