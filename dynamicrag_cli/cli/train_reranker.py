"""`drag train reranker`."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.files.jsonl import STREAM, Reader
from dynamicrag_cli.adapters.files.manifest import file_hash
from dynamicrag_cli.adapters.trainers import building as building_folder
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli import train
from dynamicrag_cli.cli.console import progress, say
from dynamicrag_cli.cli.freshness import check_folder_target, fingerprint, is_fresh
from dynamicrag_cli.core.duplicates import THRESHOLD
from dynamicrag_cli.core.errors import InputError, InterruptedRunError, UsageError
from dynamicrag_cli.core.records import Reject, RetrievedQuestion
from dynamicrag_cli.core.reranking import LABELS, RankedExample, ranked_example
from dynamicrag_cli.core.splits import split_of
from dynamicrag_cli.stages.build_bc import plan_of

LOSSES = ("binary", "listwise")

Candidates = Annotated[
    str, typer.Option("--data", metavar="FILE", help="Questions with candidates, JSONL (.gz, .zst).", show_default=False)
]


def reranker(
    ctx: typer.Context,
    data: Candidates,
    output: train.ModelOut,
    model: train.Base,
    labels: Annotated[
        str,
        typer.Option(
            parser=opt.one_of("labels", LABELS),
            metavar="NAME",
            help="What makes a passage positive: relevance (the teacher's), gold (gold ids) or answer-match.",
        ),
    ] = "relevance",
    loss: Annotated[
        str,
        typer.Option(
            parser=opt.one_of("loss", LOSSES),
            metavar="NAME",
            help="listwise: LambdaLoss, for the order; binary: cross-entropy per passage, for probabilities that a threshold can "
            "cut, which a few hundred questions did not teach (docs/rrpo.md).",
        ),
    ] = "listwise",
    negatives: Annotated[int, typer.Option(min=1, help="Hard negatives per question: the first in retrieval order.")] = 8,
    cutoff: train.Cutoff = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions (listwise) or passages (binary) per forward pass.")] = 8,
    accumulation: train.Accumulation = 1,
    learning_rate: train.LearningRate = 1e-4,
    epochs: train.Epochs = 2.0,
    max_steps: train.MaxSteps = None,
    warmup: train.Warmup = 0.1,
    bf16: train.Bf16 = False,
    split: opt.Split = "train",
    dev_share: opt.DevShare = 0.1,
    limit: opt.Limit = None,
    seed: opt.Seed = 0,
    device: opt.Device = None,
    save_steps: train.SaveSteps = 50,
    fresh: opt.Fresh = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Fine-tune a cross-encoder on labelled candidates, with sentence-transformers' own trainer.

    The result is a teacher (--teacher cross-encoder), a selector (cross-encoder:K) and the reference of train rrpo. The
    learning rate is for an encoder and a few hundred questions; a finished reranker wants less, such as 2e-5.

    Example: drag train reranker --data labelled.jsonl -o reranker --model models/minilm-l6
    """
    wanted, building = start_training(ctx, data, output)
    if wanted is None:
        return
    examples, notes = _examples(ctx.params, data)
    building_folder.prepare(building, wanted, fresh=fresh)
    train_model, settings_of = (
        registry.load("trainer", name, {name: registry.Entry(f"rrpo.supervised:{name}", "local", "")})
        for name in ("train", "Settings")
    )
    names = ("loss", "batch_size", "accumulation", "learning_rate", "epochs", "max_steps", "warmup", "cutoff", "bf16", "seed")
    settings = settings_of(**{name: ctx.params[name] for name in names}, device=device, save_steps=save_steps)
    started = time.monotonic()
    with progress("train reranker", None) as bar:

        def on_step(step: int, total: int, note: str) -> None:
            if bar.total != total:
                bar.set_total(total)
            bar.advance(step - bar.done, note)

        try:
            curve = train_model(model, examples, settings, building, on_step)
        except KeyboardInterrupt:
            raise InterruptedRunError("training interrupted; the same command goes on from the last saved step") from None
    manifest = {
        "kind": "model",
        "fingerprint": wanted,
        "stage": "reranker",
        "objective": loss,
        "counts": {"in": len(examples), "steps": bar.done},
        "notes": dict(notes),
        "loss": curve,
        "seconds": round(time.monotonic() - started, 3),
    }
    building_folder.finish(building, output, manifest)
    shown = f", loss {curve[0][1]:.3f} -> {curve[-1][1]:.3f}" if curve else ""
    say(f"train reranker: {len(examples)} questions{shown}, {manifest['seconds']:.0f} s -> {output}")
    for note, count in sorted(notes.items()):
        say(f"  {count:>6}  {note}")


def start_training(
    ctx: typer.Context, data: str, output: Path, templates_hash: str | None = None
) -> tuple[dict[str, Any] | None, Path]:
    """The fingerprint (None if the output is up to date) and the folder in which the checkpoint is built.

    Raises:
        UsageError: The data is a stream, or the output folder holds other files.
        InputError: There is no such file.
    """
    building = output.with_name(output.name + ".partial")
    if data == STREAM:
        raise UsageError("training reads its data more than once; give --data a file")
    if not Path(data).is_file():
        raise InputError(f"{data}: no such file; give --data questions with candidates, made by drag retrieve or rerank-teacher")
    check_folder_target(output, "model")
    wanted = fingerprint(ctx, None, templates_hash)
    wanted["options"]["data"] = file_hash(Path(data))
    if not ctx.params["fresh"] and is_fresh(output, wanted):
        say(f"{wanted['command']}: {output} is up to date")
        return None, building
    return wanted, building


def training_records(params: dict[str, Any], data: str, notes: Counter[str]) -> list[RetrievedQuestion]:
    """The questions of the split, at most `limit`; what is left out is counted in `notes`.

    Left out as by build-bc: near-duplicates of questions of the other splits.
    """

    def is_wanted(record: RetrievedQuestion) -> bool:
        return not params["split"] or split_of(record, params["seed"], params["dev_share"]) == params["split"]

    asked = [(r.id, r.question, "train" if is_wanted(r) else "held out") for r in _usable(data)]
    near = plan_of(asked, (), THRESHOLD).left_out
    kept: list[RetrievedQuestion] = []
    for item in Reader(data, RetrievedQuestion):
        if isinstance(item, Reject):
            notes[f"unusable line: {item.reason}"] += 1
        elif not is_wanted(item):
            notes["question of another split"] += 1
        elif item.id in near:
            notes[f"left out: {near[item.id]}"] += 1
        elif params["limit"] is None or len(kept) < params["limit"]:
            kept.append(item)
    return kept


def _usable(data: str) -> Iterator[RetrievedQuestion]:
    return (item for item in Reader(data, RetrievedQuestion) if not isinstance(item, Reject))


def _examples(params: dict[str, Any], data: str) -> tuple[list[RankedExample], Counter[str]]:
    notes: Counter[str] = Counter()
    examples = []
    for record in training_records(params, data, notes):
        try:
            example = ranked_example(record, params["labels"], params["negatives"])
        except ValueError as error:
            notes[f"left out: {error}"] += 1
            continue
        if example.n_positive == 0 and params["loss"] == "listwise":
            notes["left out: no positive among the candidates"] += 1
        elif example.passages:
            examples.append(example)
    if not any(example.n_positive for example in examples):
        reasons = "; ".join(f"{count} {note}" for note, count in notes.items()) or "no question has a positive candidate"
        raise InputError(f"{data}: nothing to learn from with --labels {params['labels']}: {reasons}")
    notes["questions without a positive"] += sum(example.n_positive == 0 for example in examples)
    return examples, +notes
