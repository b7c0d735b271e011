"""`drag eval`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from dynamicrag_cli.adapters.files.jsonl import STREAM, Reader, encoder
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import say, show_table, write_stdout
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.records import Prediction, Question, QuestionScores, Reject
from dynamicrag_cli.core.splits import split_of

_COLUMNS = {
    "selection_f1": "sel. F1",
    "selection_precision": "sel. P",
    "selection_recall": "sel. R",
    "headline": "answer",
    "em": "EM",
    "f1": "F1",
    "contains": "contains",
    "accuracy": "label acc.",
    "str_em": "str-EM",
    "rouge_l": "ROUGE-L",
}
_WITH_INTERVAL = ("selection_f1", "headline")


def eval_command(
    predictions: Annotated[
        list[str], typer.Argument(metavar="PREDICTIONS...", help="Files of drag infer; one row each.", show_default=False)
    ],
    gold: Annotated[
        str, typer.Option("--gold", metavar="QUESTIONS", help="Questions with gold answers, JSONL.", show_default=False)
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="REPORT", help="The report, one JSON document (- for stdout).")
    ] = "-",
    scores: Annotated[Path | None, typer.Option(metavar="OUT", help="Write per-question scores, JSONL.")] = None,
    split: opt.Split = None,
    dev_share: opt.DevShare = 0.1,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first N gold questions.")] = None,
    seed: opt.Seed = 0,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Evaluate predictions: a table on stderr, one JSON document out.

    Selection precision, recall and F1 against gold passages, the answer metrics of each task with 95 % bootstrap
    intervals, passages read, share of None. Questions without a prediction and malformed selections count as failures.

    Example: drag eval sft.jsonl dpo.jsonl --gold questions.jsonl --split dev -o report.json
    """
    from dynamicrag_cli.stages.evaluate import evaluate

    wanted = _gold_questions(gold, split, dev_share, seed, limit)
    names = [_system_name(path) for path in predictions]
    if len(set(names)) < len(names):
        raise UsageError(f"two prediction files have one name: {', '.join(names)}; rename one")
    systems: list[dict[str, Any]] = []
    rows: list[QuestionScores] = []
    for path, name in zip(predictions, names, strict=True):
        rejected: list[Reject] = []
        try:
            report, scored = evaluate(_predictions(path, rejected), wanted, name, seed)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None
        report["unreadable"] = len(rejected)
        if rejected:
            say(f"{path}: {len(rejected)} lines could not be read, the first is line {rejected[0].line}: {rejected[0].reason}")
        systems.append(report)
        rows += scored
    show_table(_table(systems))
    for line in _caption(systems, len(wanted)):
        say(line)
    if scores:
        _write(scores, b"".join(encoder.encode(row) + b"\n" for row in rows))
    document = json.dumps({"gold": gold, "split": split, "systems": systems}, indent=2, ensure_ascii=False)
    if output == STREAM:
        write_stdout(document)
    else:
        _write(Path(output), document.encode() + b"\n")


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def _system_name(path: str) -> str:
    name = Path(path).name
    for suffix in (".gz", ".zst", ".jsonl"):
        name = name.removesuffix(suffix)
    return name


def _gold_questions(path: str, split: str | None, dev_share: float, seed: int, limit: int | None) -> dict[str, Question]:
    gold: dict[str, Question] = {}
    for item in Reader(path, Question):
        if isinstance(item, Reject):
            raise InputError(f"{path}, line {item.line}: {item.reason}")
        if split is None or split_of(item, seed, dev_share) == split:
            gold[item.id] = item
            if limit and len(gold) >= limit:
                break
    if not gold:
        raise InputError(f"{path}: no gold questions{f' in the split {split}' if split else ''}")
    return gold


def _predictions(path: str, rejected: list[Reject]) -> Iterator[Prediction]:
    for item in Reader(path, Prediction):
        if isinstance(item, Reject):
            rejected.append(item)
        else:
            yield item


def _table(systems: list[dict[str, Any]]) -> Table:
    """One row per system; values are percentages, intervals at 95 %."""
    used = [name for name in _COLUMNS if any(name in system["scores"] for system in systems)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("system")
    for name in used:
        table.add_column(_COLUMNS[name], justify="right", no_wrap=True)
    for title in ("passages", "None", "malformed", "no answer", "missing"):
        table.add_column(title, justify="right")
    for system in systems:
        cells = [_cell(system["scores"].get(name), interval=name in _WITH_INTERVAL) for name in used]
        shares = [f"{100 * system[name]:.0f} %" for name in ("none_share", "malformed_share", "no_answer_share")]
        table.add_row(system["system"], *cells, f"{system['mean_passages']:.2f}", *shares, str(system["missing"]))
    return table


def _cell(score: dict[str, float] | None, *, interval: bool) -> str:
    if score is None:
        return "-"
    mean = f"{100 * score['mean']:.1f}"
    return f"{mean} [{100 * score['low']:.0f}, {100 * score['high']:.0f}]" if interval else mean


def _caption(systems: list[dict[str, Any]], n_questions: int) -> list[str]:
    widest = max(s["scores"]["headline"]["high"] - s["scores"]["headline"]["low"] for s in systems)
    return [
        f"{n_questions} questions; percent, [95 % interval]; 'answer' is the headline metric of each question's task.",
        f"A mean over {n_questions} questions is uncertain by up to {50 * widest:.0f} points; smaller differences show nothing.",
    ]
