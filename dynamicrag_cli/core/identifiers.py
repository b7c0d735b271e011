"""Identifiers in a reranker's reply: how a selection is written, and one total function that reads any reply.

A reply is `[4], [1], [9]` or `None`. Whatever a model writes instead, `parse_selection` returns positions that are unique and in
range together with a status; nothing raises and no question is dropped. A status other than `ok` and `none` is malformed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

NONE_REPLY = "None"
WELL_FORMED = frozenset({"ok", "none"})
STATUSES: dict[str, str] = {
    "ok": "a list of unique identifiers in range, and nothing else",
    "none": "the word None, and nothing else",
    "extra_text": "unique identifiers in range, in another form or among other words",
    "duplicate": "an identifier was repeated; repeats are dropped",
    "out_of_range": "an identifier names no candidate (0, or above N); it is dropped",
    "unbracketed": "no bracketed identifier, but a list of bare numbers, which are read as identifiers",
    "no_identifier": "neither an identifier nor None",
    "empty": "the reply is empty",
    "truncated": "the reply was cut by the token limit; the identifiers before the cut are kept",
    "failed": "the engine gave no reply",
}

_WELL_FORMED_LIST = re.compile(r"\[[0-9]+\](?:, \[[0-9]+\])*")
_BRACKETED = re.compile(r"\[\s*(\d+(?:\s*,\s*\d+)*)\s*\]")
_BARE_LIST = re.compile(r"\d+(?:\s*[,;>\s]\s*\d+)*\s*\.?")
# Longer than any number of candidates; longer digit strings are all equally out of range.
_MAX_DIGITS = 9


@dataclass(frozen=True)
class Selection:
    """Positions (0-based, unique, in range, best first) and the status of the reply that they were read from."""

    positions: tuple[int, ...]
    status: str


def format_selection(positions: Sequence[int]) -> str:
    """The reply for 0-based positions: `[3], [1]`, or `None` for an empty selection."""
    return ", ".join(f"[{position + 1}]" for position in positions) or NONE_REPLY


def parse_selection(reply: str | None, n_candidates: int, *, truncated: bool = False) -> Selection:
    """Read a reply to a prompt with `n_candidates` passages. Total: any text gives a Selection."""
    if reply is None:
        return Selection((), "failed")
    text = reply.strip()
    if not text:
        return Selection((), "truncated" if truncated else "empty")
    if not truncated and text.strip(".`*'\"[] ").lower() == NONE_REPLY.lower():
        return Selection((), "none")
    numbers, form = _numbers(text)
    if truncated and form == "unbracketed":
        # Nothing closes the last one: a `1` may have been on its way to 14.
        numbers.pop()
    if not numbers:
        return Selection((), "truncated" if truncated else "no_identifier")
    positions = [number - 1 for number in numbers if 1 <= number <= n_candidates]
    unique = tuple(dict.fromkeys(positions))
    if truncated:
        form = "truncated"
    elif len(positions) < len(numbers):
        form = "out_of_range"
    elif len(unique) < len(positions):
        form = "duplicate"
    return Selection(unique, form)


def _numbers(text: str) -> tuple[list[int], str]:
    """The identifiers in order of appearance, and the form they were written in."""
    bracketed = [number for group in _BRACKETED.findall(text) for number in _integers(group)]
    if bracketed:
        return bracketed, "ok" if _WELL_FORMED_LIST.fullmatch(text) else "extra_text"
    if _BARE_LIST.fullmatch(text):
        return _integers(text), "unbracketed"
    return [], "no_identifier"


def _integers(text: str) -> list[int]:
    return [int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS for digits in re.findall(r"\d+", text)]
