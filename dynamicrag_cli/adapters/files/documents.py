"""Text and Markdown files cut into passages; sentences are found by spaCy's rules, which need no model."""

import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from dynamicrag_cli.core.cutting import blocks, heading, pack
from dynamicrag_cli.core.errors import MissingExtraError
from dynamicrag_cli.core.records import Passage, Reject

SUFFIXES = (".txt", ".md", ".markdown")
WORDS = 100


def documents(place: Path) -> list[Path]:
    """The text and Markdown files below a folder by name, or the one file; hidden ones are left out."""
    if place.is_file():
        return [place]
    files = (path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(place).parts))


def cut(place: Path) -> Iterator[tuple[int, Passage | Reject]]:
    """The passages of all documents, one document in memory at a time, with the number of the file.

    A passage has whole sentences and up to `WORDS` words. Its id is the file's name below the folder and its own number;
    its title is the first heading of a Markdown file, else the file's name.
    """
    for number, file in enumerate(documents(place), start=1):
        name = file.relative_to(place).as_posix() if place.is_dir() else file.name
        try:
            text = file.read_bytes().decode("utf-8-sig")
        except (UnicodeDecodeError, OSError) as error:
            yield number, Reject(line=number, id=name, reason=f"{name}: {error}")
            continue
        title = (heading(text) if file.suffix.lower() != ".txt" else None) or file.stem
        for place_in_file, passage in enumerate(pack(sentences(text), WORDS), start=1):
            yield number, Passage(id=f"{name}#{place_in_file}", title=title, text=passage)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a document, in order, with all its words; none goes beyond a paragraph or ends within a word."""
    splitter = _splitter()
    for block in blocks(text):
        held = ""
        for sentence in splitter(block).sents:
            held += sentence.text_with_ws
            # Rules see the end of a sentence in `e.g.this` as well.
            if held.endswith(" "):
                yield held.rstrip(" ")
                held = ""
        if held:
            yield held


def digest(place: Path) -> str:
    """A hash of the names and bytes of all documents."""
    found = hashlib.sha256()
    for file in documents(place):
        found.update(f"{file.relative_to(place).as_posix()}\n{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


@cache
def _splitter() -> Any:
    try:
        import spacy
    except ImportError as error:
        raise MissingExtraError("cutting documents into passages", "retrieval", error) from error
    splitter = spacy.blank("en")
    splitter.add_pipe("sentencizer")
    # The limit is there for models whose memory grows with the text.
    splitter.max_length = sys.maxsize
    return splitter
