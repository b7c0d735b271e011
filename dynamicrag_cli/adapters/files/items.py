"""Items of other projects' files: JSON lines, a JSON list, or one JSON document with the list under `data`."""

import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TextIO

import msgspec

from dynamicrag_cli.adapters.files.jsonl import lines, open_read
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Reject

_ITEM = msgspec.json.Decoder(dict[str, Any])
_BLOCK = 2**20
_BEFORE = re.compile(r"\s*([\[,\]])\s*")


def items(path: str) -> Iterator[tuple[int, dict[str, Any] | Reject]]:
    """Numbers, from 1, with the items; JSON lines and a JSON list are streamed, a document with `data` is read whole.

    Raises:
        InputError: The file cannot be read, or is a document that holds no list.
    """
    rows = lines(path)
    first = next(rows, None)
    if first is None:
        return
    if _is_item(first[1]):
        yield first[0], _decoded(*first)
        yield from ((number, _decoded(number, line)) for number, line in rows)
        return
    for number, raw in enumerate(_document(path, first[1]), start=1):
        yield number, _decoded(number, raw)


def _is_item(line: bytes) -> bool:
    """Whether the first line is an item of its own, or a broken one among others; not the start of a document, nor all of one."""
    start = line.lstrip()[:1]
    if start != b"{":
        return start != b"["
    try:
        return not isinstance(_ITEM.decode(line).get("data"), list)
    except (msgspec.DecodeError, ValueError):
        return line.strip() != b"{" and not line.rstrip().endswith((b"[", b"{"))


def _decoded(number: int, line: bytes) -> dict[str, Any] | Reject:
    try:
        return _ITEM.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return Reject(line=number, id=None, reason=str(error), record=line[:2000].decode("utf-8", "replace").rstrip("\n"))


def _document(path: str, start: bytes) -> Iterator[bytes]:
    if path == "-":
        raise InputError("a JSON document cannot be read from stdin, JSON lines can; give the name of its file")
    try:
        if start.lstrip().startswith(b"["):
            with io.TextIOWrapper(open_read(path), encoding="utf-8-sig", newline="") as text:
                yield from _elements(text)
            return
        with open_read(path) as file:
            content = file.read().removeprefix(b"\xef\xbb\xbf")
        found = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        yield from map(bytes, msgspec.json.decode(found["data"], type=list[msgspec.Raw]) if "data" in found else [content])
    except (msgspec.DecodeError, ValueError, RecursionError, EOFError) as error:
        raise InputError(f"{path}: neither JSON lines nor a JSON list ({error})") from None


def _elements(file: TextIO) -> Iterator[bytes]:
    """The elements of a JSON list, one and a block in memory at a time: training data of DPR has gigabytes.

    Raises:
        ValueError: An element cannot be read, or the list has no end; the elements before have been given by then.
    """
    scan = json.JSONDecoder().raw_decode
    text, place, count = "", 0, 0
    while True:
        before = _BEFORE.match(text, place)
        if before and (before[1] == "]" if count else text.startswith("]", before.end())):
            return
        end = None
        if before and before[1] == (",[")[not count]:
            with suppress(ValueError):
                _, end = scan(text, before.end())
        # What ends with the text in hand may go on in the file.
        if before and end is not None and end < len(text):
            yield text[before.end() : end].encode()
            place, count = end, count + 1
        elif more := file.read(max(_BLOCK, len(text) - place)):
            text, place = text[place:] + more, 0
        else:
            raise ValueError(f"item {count + 1} is cut or broken")
