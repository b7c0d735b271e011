"""Outputs of shards put together again, in the order of the input, with proof that nothing is missing or doubled."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from dynamicrag_cli.adapters.files.jsonl import Reader, open_read
from dynamicrag_cli.core.records import Question, Reject


class _Named(msgspec.Struct):
    id: str


@dataclass
class Tally:
    """What a merge found.

    Attributes:
        n_in: Records of the input that the run was to deal with.
        n_out: Records written.
        n_rejected: Records that a part rejected.
        missing: Ids (or `line N`) that are in no part.
        doubled: Ids that are in several parts.
        strange: Ids in a part that the input does not have at that place.
    """

    n_in: int = 0
    n_out: int = 0
    n_rejected: int = 0
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether every record is there once."""
        return not (self.missing or self.doubled or self.strange)


def merge(
    parts: list[Path],
    rejects: list[Path],
    against: str,
    wanted: Callable[[Iterator[tuple[int, Question | Reject]]], Iterator[tuple[int, Question | Reject]]],
    output: Path,
    rejects_output: Path,
) -> Tally:
    """Write the records of all parts to `output`, and what they rejected to `rejects_output`, both plain.

    The parts are read side by side, each once: a part holds its records in the order of the input, so that the next record is
    always the head of one of them.

    Args:
        parts: Outputs of the shards.
        rejects: Their reject files, those that exist.
        against: Input of the run.
        wanted: Leaves out what the run did not deal with (another split, beyond the limit).
        output: File to write.
        rejects_output: File to write.
    """
    tally = Tally()
    decode = msgspec.json.Decoder(Reject).decode
    with ExitStack() as stack:
        sink, reject_sink = (stack.enter_context(path.open("wb")) for path in (output, rejects_output))
        refused = {reject.line: reject for path in rejects for reject in map(decode, _lines(path, stack))}
        heads = [_Head(_lines(path, stack)) for path in parts]
        for number, item in wanted(Reader(against, Question).numbered()):
            tally.n_in += 1
            name = None if isinstance(item, Reject) else item.id
            holders = [head for head in heads if name is not None and head.name == name]
            if holders:
                sink.write(holders[0].line)
                tally.n_out += 1
            elif number in refused:
                reject_sink.write(msgspec.json.encode(refused[number]) + b"\n")
                tally.n_rejected += 1
            else:
                tally.missing.append(name or f"line {number}")
            if len(holders) > 1:
                tally.doubled.append(str(name))
            for head in holders:
                head.advance()
        for head in heads:
            while head.name is not None:
                tally.strange.append(head.name)
                head.advance()
    return tally


def _lines(path: Path, stack: ExitStack) -> Iterator[bytes]:
    return iter(stack.enter_context(open_read(str(path))))


class _Head:
    """The next record of one part."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.lines = lines
        self.decoder = msgspec.json.Decoder(_Named)
        self.advance()

    def advance(self) -> None:
        self.line = next(self.lines, b"")
        self.name = self.decoder.decode(self.line).id if self.line else None
