"""Items of other projects' files: JSON lines, a JSON list, or one JSON document with the list under `data`."""

from collections.abc import Iterator
from typing import Any

import msgspec

from dynamicrag_cli.adapters.files.jsonl import lines, open_read
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Reject

_ITEM = msgspec.json.Decoder(dict[str, Any])


def items(path: str) -> Iterator[tuple[int, dict[str, Any] | Reject]]:
    """Numbers, from 1, with the items; JSON lines are streamed, a document is read whole.

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
        yield number, _decoded(number, bytes(raw))


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


def _document(path: str, start: bytes) -> list[msgspec.Raw]:
    if path == "-":
        raise InputError("a JSON document cannot be read from stdin, JSON lines can; give the name of its file")
    try:
        with open_read(path) as file:
            content = file.read().removeprefix(b"\xef\xbb\xbf")
        if start.lstrip().startswith(b"["):
            return msgspec.json.decode(content, type=list[msgspec.Raw])
        found = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        return msgspec.json.decode(found["data"], type=list[msgspec.Raw]) if "data" in found else [msgspec.Raw(content)]
    except (msgspec.DecodeError, ValueError, RecursionError, EOFError) as error:
        raise InputError(f"{path}: neither JSON lines nor a JSON list ({error})") from None
