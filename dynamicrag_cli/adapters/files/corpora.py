"""Corpora in the forms that they are published in, as a stream of passages."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dynamicrag_cli.adapters.files.documents import SUFFIXES, cut, digest, documents
from dynamicrag_cli.adapters.files.items import items
from dynamicrag_cli.adapters.files.jsonl import Reader, lines
from dynamicrag_cli.adapters.files.manifest import file_hash
from dynamicrag_cli.core.doors import admit
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.exchange import corpora
from dynamicrag_cli.core.exchange.parts import Item
from dynamicrag_cli.core.records import Passage, Reject

Rows = Iterator[tuple[int, Passage | Reject]]
_BEIR_FILES = ("corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst")


@dataclass(frozen=True)
class Format:
    """One form of a corpus.

    Attributes:
        summary: One line for `--help`.
        read: The passages of an item, as fields; None for what is not made of JSON items.
        unit: What the numbers of its passages and rejects count.
        repeats: Whether it is its nature to hold a passage several times.
    """

    summary: str
    read: Callable[[Item], list[Item]] | None = None
    unit: str = "line"
    repeats: bool = False


FORMATS = {
    "drag": Format("JSONL with id, title, text"),
    "tsv": Format("psgs_w100.tsv: id, text, title"),
    "beir": Format("BEIR's folder, or its corpus.jsonl", corpora.beir),
    "flashrag": Format("JSONL with id and contents, whose first line is the title", corpora.flashrag),
    "dpr": Format("questions of DPR with positive_ctxs, negative_ctxs or ctxs", corpora.contexts, unit="item", repeats=True),
    "text": Format("a folder of .txt and .md files, cut on sentence borders", unit="file"),
}


class Corpus:
    """The passages of a corpus with the numbers of their lines; each time it is gone over it is read anew, and never held.

    An id may come twice: whoever reads has to see to it.

    Attributes:
        name: Its format.
        strange: How often each unknown field was moved to `meta`.

    Raises:
        InputError: There is no such file, or its format cannot be guessed.
    """

    def __init__(self, path: str, name: str | None = None) -> None:
        if not Path(path).exists():
            raise InputError(f"{path}: no such file")
        self.path, self.name = path, name or _guess(path)
        self.format = FORMATS[self.name]
        self.file = path if self.name == "text" else _beir_file(path) if Path(path).is_dir() else path
        self.strange: Counter[str] = Counter()

    def __iter__(self) -> Rows:
        for number, item in self._rows():
            if isinstance(item, Passage) and not (item.text.strip() or item.title.strip()):
                yield number, Reject(line=number, id=item.id, reason=f"the passage {item.id!r} is empty")
            else:
                yield number, item

    def identity(self) -> str:
        """A hash of what it holds."""
        return digest(Path(self.path)) if self.name == "text" else file_hash(Path(self.file))

    def _rows(self) -> Rows:
        if self.name == "text":
            return cut(Path(self.path))
        if self.name == "tsv":
            return self._admitted(_table(self.file))
        if self.format.read is None:
            return self._own()
        return self._admitted(_passages(self.file, self.format.read))

    def _own(self) -> Rows:
        reader = Reader(self.file, Passage, unique=False)
        self.strange = reader.strange = Counter()
        return reader.numbered()

    def _admitted(self, rows: Iterator[tuple[int, Item | Reject]]) -> Rows:
        for number, fields in rows:
            if isinstance(fields, Reject):
                yield number, fields
                continue
            try:
                passage, strange = admit(fields, Passage)
            except ValueError as error:
                yield number, Reject(line=number, id=str(fields.get("id", "")) or None, reason=str(error))
                continue
            self.strange.update(strange)
            yield number, passage


def _passages(path: str, read: Callable[[Item], list[Item]]) -> Iterator[tuple[int, Item | Reject]]:
    for number, item in items(path):
        if isinstance(item, Reject):
            yield number, item
            continue
        try:
            yield from ((number, fields) for fields in read(item))
        except ValueError as error:
            yield number, Reject(line=number, id=None, reason=str(error))


def _table(path: str) -> Iterator[tuple[int, Item | Reject]]:
    """The rows of a table with tabs; each stands on a line of its own, and may be quoted as DPR's are."""
    header = None
    for number, line in lines(path):
        try:
            row = next(csv.reader([line.decode("utf-8").rstrip("\r\n")], delimiter="\t"))
            if number == 1 and (header := corpora.columns(row)):
                continue
            yield number, corpora.from_row(row, header) if header else corpora.from_row(row)
        except (ValueError, csv.Error) as error:
            text = line[:200].decode("utf-8", "replace").rstrip("\n")
            yield number, Reject(line=number, id=None, reason=str(error), record=text)


def _guess(path: str) -> str:
    place = Path(path)
    if place.is_dir():
        if any((place / name).exists() for name in _BEIR_FILES):
            return "beir"
        if documents(place):
            return "text"
        raise InputError(f"{path}: neither a BEIR folder ({_BEIR_FILES[0]}) nor a folder with {', '.join(SUFFIXES)} files")
    if place.suffix in SUFFIXES:
        return "text"
    if ".tsv" in place.suffixes[-2:]:
        return "tsv"
    for _, item in items(path):
        # What cannot be read at all is told by the reader, with the number of its line.
        found = "drag" if isinstance(item, Reject) else corpora.guess(item)
        if found:
            return found
        fields = ", ".join(item) if isinstance(item, dict) else ""
        raise InputError(f"{path}: cannot tell the format of this corpus (its first item has {fields}); give --format")
    return "drag"


def _beir_file(path: str) -> str:
    found = next((Path(path) / name for name in _BEIR_FILES if (Path(path) / name).exists()), None)
    if found is None:
        raise InputError(f"{path}: is a folder without {_BEIR_FILES[0]}; give the name of a file, or --format text")
    return str(found)
