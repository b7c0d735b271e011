"""What scoring costs: `drag eval` of short answers against reading the file with the JSON library alone, and ROUGE.

    .venv/bin/python -m benchmarks.eval [--records 100000] [--paragraphs 10000]

Both sides run in one process, in turns; the table shows the processor seconds of the best of each. `scored` reads, scores and
computes the intervals of every metric; gold questions are in memory on both sides. The last table scores paragraphs with one
process and with all cores.
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.runner import seconds
from dynamicrag_cli.adapters.files.jsonl import Reader
from dynamicrag_cli.cli.eval_files import many_hands, no_garbage
from dynamicrag_cli.core.records import Prediction, Question, Reject, Rollout
from dynamicrag_cli.core.statistics import estimate, paired
from dynamicrag_cli.stages.evaluate import System, collect, report, score

PASSAGES = 20
TURNS = 3
_WORDS = [f"word{number}" for number in range(997)]


def work(call: Callable[[], object]) -> float:
    """Processor seconds of a call in this process: what a busy machine does not change much."""
    began = time.process_time()
    call()
    return time.process_time() - began


def make_predictions(path: Path, records: int, passages: int) -> dict[str, Question]:
    """A file of short-answer predictions with so many passages of 100 words each; returns its gold questions."""
    gold = {}
    with path.open("wb") as file:
        for number in range(records):
            docs = [
                {"id": f"p{number}-{place}", "title": f"Title {place}", "text": " ".join(_WORDS[(number + place) % 890 :][:100])}
                for place in range(passages)
            ]
            question = {
                "id": f"q{number}",
                "question": f"What is {number}?",
                "answers": [f"the answer {number}"],
                "dataset": "qa",
            }
            gold[f"q{number}"] = msgspec.convert(question | {"gold_passage_ids": [f"p{number}-1"]}, Question)
            said = (f"Answer {number}", f"some answer {number}", "unknown")[number % 3]
            chosen = [doc["id"] for doc in docs[: number % 4]]
            rollout = {
                "selection": chosen,
                "status": "ok" if chosen else "none",
                "answer": said,
                "n_reader_tokens": 90 * len(chosen),
            }
            file.write(msgspec.json.encode(question | {"docs": docs, "rollout": rollout, "selector": "llm"}) + b"\n")
    return gold


def read_bare(path: Path) -> None:
    """Every line through the JSON library, and nothing else."""
    decoder = msgspec.json.Decoder()
    with path.open("rb") as lines:
        for line in lines:
            decoder.decode(line)


def read_and_score(path: Path, gold: dict[str, Question]) -> None:
    """What `drag eval` does with one file."""
    predictions = (item for item in Reader(str(path), Prediction) if not isinstance(item, Reject))
    with no_garbage():
        kept = collect(predictions, gold, "bench")
        report([kept], [score(kept, gold)], gold)


def short_answers(folder: Path, records: int, console: Console) -> None:
    """Scoring with intervals against bare reading, with passages and without."""
    table = Table(title=f"{records} short answers, best of {TURNS}")
    for heading in ("file", "MB", "bare s", "scored s", "ratio"):
        table.add_column(heading, justify="right")
    for name, passages in (("20 passages", PASSAGES), ("no passages", 0)):
        path = folder / f"{passages}.jsonl"
        gold = make_predictions(path, records, passages)
        bare, scored = [], []
        for _ in range(TURNS):
            bare.append(work(lambda path=path: read_bare(path)))  # type: ignore[misc]
            scored.append(work(lambda path=path, gold=gold: read_and_score(path, gold)))  # type: ignore[misc]
        ratio = f"{min(scored) / min(bare):.1f}"
        table.add_row(name, f"{path.stat().st_size / 1e6:.0f}", f"{min(bare):.2f}", f"{min(scored):.2f}", ratio)
        path.unlink()
    console.print(table)


def statistics(records: int, console: Console) -> None:
    """An interval and a paired comparison, for values that are 0 or 1 and for values that are all different."""
    table = Table(title=f"Statistics over {records} values, s")
    for heading in ("values", "interval", "paired difference"):
        table.add_column(heading, justify="right")
    binary = [float(number % 3 == 0) for number in range(records)]
    others = [float(number % 7 == 0) for number in range(records)]
    graded = [((number * 7919) % 100_003) / 100_003 for number in range(records)]
    for name, one, other in (("0 or 1", binary, others), ("all different", graded, [value**2 for value in graded])):
        table.add_row(name, f"{seconds(partial(estimate, one)):.2f}", f"{seconds(partial(paired, one, other)):.2f}")
    console.print(table)


def paragraphs(count: int, console: Console) -> None:
    """ROUGE-L of paragraphs of 120 words against two references."""

    def text(number: int) -> str:
        return " ".join(_WORDS[(number * step) % 997] for step in range(1, 121))

    questions = [Question(id=str(n), question="?", answers=[text(n), text(n + 3)], dataset="eli5") for n in range(count)]
    gold = {question.id: question for question in questions}
    rollouts = {name: Rollout(selection=[], status="none", answer=text(int(name) + 1)) for name in gold}
    kept = System("bench", rollouts)

    def all_cores() -> None:
        with many_hands(gold, []) as apply:
            score(kept, gold, apply=apply)

    ways: dict[str, Callable[[], object]] = {"one process": lambda: score(kept, gold), f"{os.cpu_count()} cores": all_cores}
    table = Table(title=f"ROUGE-L of {count} paragraphs")
    for heading in ("", "s"):
        table.add_column(heading, justify="right")
    for name, call in ways.items():
        table.add_row(name, f"{seconds(lambda call=call: call() and None):.1f}")  # type: ignore[misc]
    console.print(table)


def main(
    records: Annotated[int, typer.Option(help="Short-answer predictions.")] = 100_000,
    count: Annotated[int, typer.Option("--paragraphs", help="Paragraphs to score with ROUGE.")] = 10_000,
) -> None:
    """Print the tables."""
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as folder:
        short_answers(Path(folder), records, console)
    statistics(records, console)
    paragraphs(count, console)


if __name__ == "__main__":
    typer.run(main)
