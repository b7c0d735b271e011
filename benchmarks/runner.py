"""What the stage runner costs: a stage that does nothing against a bare loop that decodes and encodes the same file.

    .venv/bin/python -m benchmarks.runner [--records 20000]

Both sides run in one process, in turns; the table shows the best of each. The second table interrupts a stage that takes 2 ms a
record at its half, goes on, and compares both parts together with a run in one go.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.runner import Stage, run_stage
from dynamicrag_cli.core.errors import InterruptedRunError
from dynamicrag_cli.core.records import RetrievedQuestion

PASSAGES = 20
TURNS = 3
SECONDS_PER_RECORD = 0.002


def make_input(path: Path, records: int) -> int:
    """A file of questions with 20 passages of 100 words each; returns its bytes."""
    words = [f"word{number}" for number in range(997)]
    with path.open("wb") as file:
        for number in range(records):
            docs = [
                {
                    "id": f"p{number}-{place}",
                    "title": f"Title {place}",
                    "text": " ".join(words[(number + place) % 890 :][:100]),
                    "score": 1.5,
                }
                for place in range(PASSAGES)
            ]
            question = {"id": f"q{number}", "question": f"What is {number}?", "answers": ["x"], "dataset": "qa", "docs": docs}
            file.write(msgspec.json.encode(question) + b"\n")
    return path.stat().st_size


def bare(source: Path, output: Path) -> None:
    """Decode and encode, line by line."""
    decoder, encoder = msgspec.json.Decoder(RetrievedQuestion), msgspec.json.Encoder()
    with source.open("rb") as lines, output.open("wb") as sink:
        for line in lines:
            sink.write(encoder.encode(decoder.decode(line)) + b"\n")


app = typer.Typer(add_completion=False)
work: dict[str, Callable[[list[Any]], Sequence[Any]]] = {"now": list}


@app.command()
def no_op(ctx: typer.Context, source: Path, output: Path, chunk: opt.Chunk = 256) -> None:
    """The stage under measurement: `work["now"]` on every chunk."""
    del chunk  # The runner reads it from the context.
    run_stage(ctx, str(source), str(output), Stage(RetrievedQuestion, {"": RetrievedQuestion}, lambda: work["now"]))


def through_runner(source: Path, output: Path, *more: str) -> None:
    """The same through the runner: fingerprint, journal, sync, publication, manifest."""
    app([str(source), str(output), *more], standalone_mode=False)


def seconds(call: Callable[[], None]) -> float:
    """Wall seconds of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def overhead(folder: Path, records: int, console: Console) -> None:
    """Throughput of a stage that does nothing, against the bare loop."""
    source = folder / "in.jsonl"
    megabytes = make_input(source, records) / 1e6
    times: dict[str, list[float]] = {"bare loop": [], "stage runner": []}
    for turn in range(TURNS):
        times["bare loop"].append(seconds(lambda: bare(source, folder / "bare.jsonl")))
        times["stage runner"].append(seconds(lambda turn=turn: through_runner(source, folder / f"out{turn}.jsonl")))
        (folder / f"out{turn}.jsonl").unlink()
    table = Table(title=f"{records} records, {megabytes:.0f} MB, best of {TURNS}")
    for heading in ("", "s", "MB/s", "ratio"):
        table.add_column(heading, justify="right")
    base = min(times["bare loop"])
    for name, values in times.items():
        table.add_row(name, f"{min(values):.2f}", f"{megabytes / min(values):.0f}", f"{base / min(values):.2f}")
    console.print(table)


def resume(folder: Path, records: int, console: Console) -> None:
    """What an interruption at the half of a stage that takes 2 ms a record costs."""
    source = folder / "slow.jsonl"
    make_input(source, records)

    def slow(chunk: list[Any]) -> Sequence[Any]:
        time.sleep(SECONDS_PER_RECORD * len(chunk))
        return chunk

    done = 0

    def half(chunk: list[Any]) -> Sequence[Any]:
        nonlocal done
        done += len(chunk)
        if done > records // 2:
            raise InterruptedRunError("half")
        return slow(chunk)

    work["now"] = slow
    whole = seconds(lambda: through_runner(source, folder / "whole.jsonl", "--chunk", "50"))
    work["now"] = half
    with contextlib.suppress(InterruptedRunError):
        began = time.perf_counter()
        through_runner(source, folder / "resumed.jsonl", "--chunk", "50")
    first = time.perf_counter() - began
    work["now"] = slow
    rest = seconds(lambda: through_runner(source, folder / "resumed.jsonl", "--chunk", "50"))
    equal = (folder / "whole.jsonl").read_bytes() == (folder / "resumed.jsonl").read_bytes()
    table = Table(title=f"Going on at 50 % of {records} records of {1000 * SECONDS_PER_RECORD:.0f} ms (equal output: {equal})")
    for heading in ("in one go s", "first half s", "second half s", "both more than one go"):
        table.add_column(heading, justify="right")
    table.add_row(f"{whole:.2f}", f"{first:.2f}", f"{rest:.2f}", f"{100 * (first + rest - whole) / whole:.1f} %")
    console.print(table)


def main(records: Annotated[int, typer.Option(help="Records of the first table.")] = 20000) -> None:
    """Print both tables."""
    os.environ["COLUMNS"] = "100"
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        overhead(Path(folder), records, console)
        resume(Path(folder), 4000, console)


if __name__ == "__main__":
    typer.run(main)
