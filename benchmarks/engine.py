"""What `drag sample` saves, what it costs beside the engine alone, and how `drag infer` grows with the pool.

    .venv/bin/python -m benchmarks.engine --model models/smollm2-135m --engines "hf vllm"

Each engine is loaded once, outside the measured time. The naive way sends one prompt per call and answers every rollout; `drag
sample` is the command itself; "in bulk" hands the very prompts of that command to the engine again, with nothing around it. The
output is Markdown for docs/performance.md. A reranker that was not trained to select should be held to the closed set (where the
engine can), or there is nothing to answer.
"""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from benchmarks.runner import seconds
from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.adapters.files.jsonl import Reader
from dynamicrag_cli.adapters.files.templates import load_prompts
from dynamicrag_cli.cli import models
from dynamicrag_cli.cli.main import app
from dynamicrag_cli.core.engine import ChatRequest, Completion, SamplingOptions
from dynamicrag_cli.core.identifiers import WELL_FORMED
from dynamicrag_cli.core.records import Candidate, RetrievedQuestion, extend
from dynamicrag_cli.stages import rollouts as stage

TOY = Path(__file__).parents[1] / "examples/toy"
DRAWING = SamplingOptions(temperature=1.0, top_p=0.9, max_new_tokens=40)


class Counted:
    """An engine that keeps what it is asked, and stays loaded when a command closes it."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.calls = engine, []  # type: Any, list[tuple[Sequence[ChatRequest], SamplingOptions]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def chat(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        """As the engine does."""
        self.calls.append((requests, options))
        return self.engine.chat(requests, options)  # type: ignore[no-any-return]

    def close(self) -> None:
        """It is wanted again."""

    def measure(self, call: Callable[..., None], *arguments: object) -> tuple[float, int, int, int]:
        """Wall seconds of a call from a cold cache of prefixes, and its engine calls, prompts and replies."""
        if hasattr(self.engine, "llm"):
            self.engine.llm.reset_prefix_cache()
        self.calls = []
        wall = seconds(partial(call, *arguments))
        n_prompts = sum(len(requests) for requests, _ in self.calls)
        return wall, len(self.calls), n_prompts, sum(len(requests) * options.n for requests, options in self.calls)


def short(doc: Candidate, words: int) -> Candidate:
    """A passage cut to its first words."""
    return extend(doc, Candidate, text=" ".join(doc.text.split()[:words]))  # type: ignore[no-any-return]


def toy_records(count: int, pool: int) -> list[RetrievedQuestion]:
    """Toy questions whose pool is the toy corpus from a place of their own on, over again where it is larger."""
    passages = [json.loads(line) for line in (TOY / "passages.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [json.loads(line) for line in (TOY / "questions.jsonl").read_text(encoding="utf-8").splitlines()[:count]]
    made = []
    for number, q in enumerate(asked):
        docs = [
            Candidate(id=f"{p['id']}-{place}", title=p["title"], text=p["text"], score=-float(place))
            for place, p in enumerate(islice(cycle(passages), 7 * number, 7 * number + pool))
        ]
        made.append(RetrievedQuestion(id=q["id"], question=q["question"], answers=q["answers"], dataset="qa", docs=docs))
    return made


def write(path: Path, records: Sequence[RetrievedQuestion]) -> Path:
    """Records as a file."""
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    return path


def drag(*arguments: object) -> None:
    """A command in this process."""
    app([str(argument) for argument in arguments], standalone_mode=False)


def malformed(path: Path) -> str:
    """Share of selections in a file that are not well formed."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    statuses = [r["status"] for record in records for r in record.get("rollouts") or [record["rollout"]]]
    return f"{100 * sum(status not in WELL_FORMED for status in statuses) / len(statuses):.0f} %"


def sampling(name: str, engine: Counted, common: list[object], records: list[RetrievedQuestion], n: int, folder: Path) -> None:
    """The rows of one engine: the naive way, `drag sample`, and the same prompts in bulk."""
    source, output = write(folder / f"{name}.jsonl", records), folder / f"{name}.sampled.jsonl"
    arguments = ["sample", source, "-o", output, "--engine", name, *common, "--rollouts", n, "--temperature", DRAWING.temperature]
    arguments += ["--top-p", DRAWING.top_p, "--max-selection-tokens", DRAWING.max_new_tokens]
    ways = {"drag sample": engine.measure(drag, *arguments)}
    asked = engine.calls
    drawn = replace(asked[0][1], n=1)
    prompts = load_prompts(None, engine.control_tokens)
    ways["in bulk"] = engine.measure(lambda: [engine.chat(*call) for call in asked] and None)

    def naive() -> None:
        for record in records:
            for number in range(n):
                stage.sample([record], engine, engine, prompts, prompts, replace(drawn, seed=number))

    ways["naive"] = engine.measure(naive)
    base = ways["naive"][0]
    for way in ("naive", "drag sample", "in bulk"):
        wall, n_calls, n_prompts, n_replies = ways[way]
        bad = malformed(output) if way == "drag sample" else ""
        typer.echo(f"| {name} | {way} | {wall:.1f} | {n_calls} | {n_prompts} | {n_replies} | {base / wall:.1f} | {bad} |")
    if getattr(engine, "constrains", False):
        free = folder / f"{name}.free.jsonl"
        wall, *_ = engine.measure(drag, *arguments[:3], free, *arguments[4:], "--no-constrained")
        typer.echo(f"| {name} | drag sample, decoding freely | {wall:.1f} | | | | {base / wall:.1f} | {malformed(free)} |")


def pools(
    name: str,
    engine: Counted,
    common: list[object],
    records: list[RetrievedQuestion],
    sizes: list[int],
    window: int,
    folder: Path,
) -> None:
    """Seconds per question of `drag infer` by size of the pool."""
    source = write(folder / f"{name}.pools.jsonl", records)
    for size in sizes:
        output = folder / f"{name}.{size}.jsonl"
        limits = ["--top-n", size, "--window", window, "--max-selection-tokens", DRAWING.max_new_tokens]
        wall, _, n_prompts, _ = engine.measure(drag, "infer", source, "-o", output, "--engine", name, *common, *limits)
        count = len(records)
        typer.echo(f"| {name} | {size} | {wall / count:.2f} | {n_prompts / count:.1f} | {malformed(output)} |")


def main(
    model: Annotated[str, typer.Option(help="Reranker and reader.")] = "models/smollm2-135m",
    engines: Annotated[str, typer.Option(help="Names, with spaces between them.")] = "hf vllm",
    candidates: Annotated[str | None, typer.Option(help="Candidates by drag retrieve (default: the toy corpus).")] = None,
    questions: Annotated[int, typer.Option(help="Questions to sample.")] = 12,
    passages: Annotated[int, typer.Option(help="Passages of each.")] = 10,
    words: Annotated[int, typer.Option(help="Words of a passage.")] = 40,
    n_rollouts: Annotated[int, typer.Option("--rollouts", help="Rollouts of a question.")] = 8,
    sizes: Annotated[str, typer.Option("--pools", help="Sizes of pools; empty: no such table.")] = "10 20 40 100 500",
    pool_questions: Annotated[int, typer.Option(help="Questions of each pool.")] = 3,
    window: Annotated[int, typer.Option(help="Passages in one prompt.")] = 20,
    max_model_len: Annotated[int, typer.Option(help="Context in tokens.")] = 4096,
    device: Annotated[str | None, typer.Option(help="cpu or cuda (hf).")] = None,
) -> None:
    """Print both tables for every engine."""
    os.environ["COLUMNS"] = "100"
    largest = max([passages, *map(int, sizes.split())])
    asked = max(questions, pool_questions)
    if candidates:
        read = (item for item in Reader(candidates, RetrievedQuestion) if isinstance(item, RetrievedQuestion))
        records = list(islice(read, asked))
    else:
        records = toy_records(asked, largest)
    records = [extend(record, RetrievedQuestion, docs=[short(doc, words) for doc in record.docs]) for record in records]
    few = [extend(record, RetrievedQuestion, docs=record.docs[:passages]) for record in records[:questions]]
    common: list[object] = ["--model", model, "--max-model-len", max_model_len]
    load, opened = models.open_engine, {}
    for name in engines.split():
        settings = EngineSettings(device=device, max_model_len=max_model_len)
        opened[name] = Counted(registry.load("engine", name, registry.ENGINES)(model, settings))
    models.open_engine = lambda name, *_settings: opened[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        typer.echo(f"{questions} questions, {passages} passages of {words} words, {n_rollouts} rollouts, {model}\n")
        typer.echo(
            "| engine | way | s | engine calls | prompts | replies | × naive | malformed |\n|---|---|---|---|---|---|---|---|"
        )
        for name, engine in opened.items():
            sampling(name, engine, common, few, n_rollouts, folder)
        if sizes:
            typer.echo(f"\n{pool_questions} questions, windows of {window}\n")
            typer.echo("| engine | pool | s per question | prompts per question | malformed |\n" + "|---" * 5 + "|")
            for name, engine in opened.items():
                pools(name, engine, common, records[:pool_questions], [int(size) for size in sizes.split()], window, folder)
    models.open_engine = load
    for engine in opened.values():
        engine.engine.close()


if __name__ == "__main__":
    typer.run(main)
