"""General instruction data that is mixed into a cloning run, so that the model keeps what it could do before."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dynamicrag_cli.adapters.files.jsonl import lines
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.records import ChatExample
from dynamicrag_cli.core.splits import unit_hash

MIX = "mix"


@dataclass(frozen=True)
class Mix:
    """A file of instructions and the share of the training examples that it gives, below 1; None takes all of it."""

    path: Path
    share: float | None


def parse_mix(text: str) -> Mix:
    """Read `FILE` or `FILE:SHARE`.

    Raises:
        UsageError: The share is not between 0 and 1.
    """
    path, colon, number = text.rpartition(":")
    if not colon or Path(text).exists():
        return Mix(Path(text), None)
    try:
        share = float(number)
    except ValueError:
        return Mix(Path(text), None)
    if not 0 < share < 1:
        raise UsageError(f"--mix {text}: the share must lie between 0 and 1, such as {path}:0.2")
    return Mix(Path(path), share)


def read_mixes(mixes: Sequence[Mix], n_own: int, seed: int) -> list[ChatExample]:
    """The instructions that are mixed in, of each file a random part in its order.

    Args:
        mixes: What to take; the shares are of all examples of the run. A file holds Alpaca rows (`instruction`, `input`,
            `output`, perhaps `system`) as one JSON list or as JSONL, or JSONL with `system`, `user` and `assistant`.
        n_own: Examples of the run without them.
        seed: Seed of the choice.

    Raises:
        InputError: There is no such file, a row is neither form, or a file has too few rows for its share.
        UsageError: The shares leave nothing for the run's own examples.
    """
    shares = sum(mix.share or 0 for mix in mixes)
    if shares > 1 - 1e-9:
        raise UsageError(f"--mix: the shares add up to {shares:g}, which leaves nothing for the examples of --data")
    files = [
        [_example(row, f"{mix.path.stem}-{place}-{number}", mix.path) for number, row in enumerate(_rows(mix.path), start=1)]
        for place, mix in enumerate(mixes, start=1)
    ]
    n_whole = n_own + sum(len(examples) for mix, examples in zip(mixes, files, strict=True) if mix.share is None)
    n_all = n_whole / (1 - shares)
    return [example for mix, examples in zip(mixes, files, strict=True) for example in _part(mix, examples, n_all, seed)]


def _part(mix: Mix, examples: list[ChatExample], n_all: float, seed: int) -> list[ChatExample]:
    if mix.share is None:
        return examples
    wanted = round(n_all * mix.share)
    if wanted > len(examples):
        raise InputError(f"{mix.path}: a share of {mix.share} of {n_all:.0f} examples is {wanted} rows, it has {len(examples)}")
    drawn = sorted(examples, key=lambda example: unit_hash("mix", seed, example.id))[:wanted]
    chosen = {example.id for example in drawn}
    return [example for example in examples if example.id in chosen]


def _rows(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise InputError(f"--mix: no such file: {path}")
    try:
        if path.suffix == ".json":
            yield from json.loads(path.read_text(encoding="utf-8"))
        else:
            yield from (json.loads(line) for _, line in lines(str(path)))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: not a JSON list (.json) or JSON lines ({error})") from None


def _example(row: Any, name: str, path: Path) -> ChatExample:
    if isinstance(row, dict) and row.get("history"):
        raise InputError(f"{path}, row {name}: has a history; only single turns can be mixed in")
    try:
        if "instruction" in row:
            asked = "\n".join(filter(None, (row["instruction"], row.get("input"))))
            row = {"system": row.get("system") or "", "user": asked, "assistant": row["output"]}
        return msgspec.convert(
            {**{part: row[part] for part in ("system", "user", "assistant")}, "id": name, "role": MIX}, ChatExample
        )
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise InputError(
            f"{path}, row {name}: neither instruction, input, output nor system, user, assistant, all of them texts ({error})"
        ) from None
