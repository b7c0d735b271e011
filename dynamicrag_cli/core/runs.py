"""What a run folder says about itself: its stages in order, what each took and gave, and the results of its systems."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """A stage of a run: its command, its output in the run folder, and the make target that makes it; `llm` trains the LLM."""

    name: str
    place: str
    target: str
    optional: bool = False
    llm: bool = False


STEPS = (
    Step("index", "bm25", "index"),
    Step("index (dense)", "dense", "index", optional=True),
    Step("retrieve", "candidates.jsonl", "retrieve"),
    Step("rerank-teacher", "labelled.jsonl", "rerank-teacher"),
    Step("build-bc", "bc", "build-bc", llm=True),
    Step("train sft", "sft", "train-sft", llm=True),
    Step("sample", "sampled.jsonl", "sample", llm=True),
    Step("reward", "rewarded.jsonl", "reward", llm=True),
    Step("build-dpo", "dpo-data", "build-dpo", llm=True),
    Step("train dpo", "dpo", "train-dpo", llm=True),
    Step("train reranker", "reranker", "train-reranker", optional=True),
)


@dataclass(frozen=True)
class StageFacts:
    """What the manifest and the rejects of a finished stage say; None where they say nothing.

    Attributes:
        name: The command, with the system for `infer`.
        out: Records per file that it wrote ("" for the only one).
        reasons: Rejected records by reason.
        notes: Records by what the stage noted about them.
        loss: (step, loss) of a training.
        learning: (step, utility, the reference's utility, passages) of `train rrpo`.
    """

    name: str
    n_in: int | None = None
    out: dict[str, int] = field(default_factory=dict)
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    seconds: float | None = None
    memory: float | None = None
    loss: tuple[tuple[float, float], ...] = ()
    learning: tuple[tuple[float, ...], ...] = ()


_LEARNING = ("step", "utility", "reference", "passages")


def stage_facts(
    name: str, manifest: Mapping[str, Any], reasons: Mapping[str, int], curve: Iterable[Mapping[str, Any]] = ()
) -> StageFacts:
    """The facts of a manifest, and of the `curve` that `train rrpo` writes.

    Raises:
        ValueError: A field is not what a manifest holds.
    """
    try:
        counts = manifest.get("counts") or {}
        out = counts.get("out", {})
        return StageFacts(
            name=name,
            n_in=None if counts.get("in") is None else int(counts["in"]),
            out={str(file): int(count) for file, count in (out if isinstance(out, dict) else {"": out}).items()},
            rejected=int(counts.get("rejected", 0)),
            reasons=dict(reasons),
            notes={str(note): int(count) for note, count in (manifest.get("notes") or {}).items()},
            seconds=finite(manifest.get("seconds")),
            memory=finite(manifest.get("peak_memory_mib")),
            loss=tuple(
                (float(step), float(loss))
                for step, loss in manifest.get("loss") or ()
                if finite(step) is not None and finite(loss) is not None
            ),
            learning=tuple(
                tuple(float(line[key]) for key in _LEARNING)
                for line in curve
                if all(finite(line.get(key)) is not None for key in _LEARNING)
            ),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not the manifest of a stage ({error})") from None


def flow(stage: StageFacts) -> str:
    """Records in, out and rejected in words."""
    words = f"{'?' if stage.n_in is None else stage.n_in}"
    words += f" → {sum(stage.out.values())}" if stage.out else ""
    return words + (f", {stage.rejected} rejected" if stage.rejected else "")


def amount(value: float) -> str:
    """A number as short as it can be read: 0.35, 12, 1345."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")


def same_reason(reason: str) -> str:
    """The reason without the names that differ from record to record, so that equal reasons can be counted."""
    return re.sub(r"\d+", "N", _QUOTED.sub("…", reason))


def finite(value: object) -> float | None:
    """The number, or None for what is none: NaN, infinite, a text, nothing."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


@dataclass(frozen=True)
class Score:
    """A mean with its 95 % interval; the interval is the mean itself where none is known."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class SystemResults:
    """One row of the report of `eval`: scores by metric, per data set too, and the other columns."""

    name: str
    scores: dict[str, Score]
    by_dataset: dict[str, dict[str, Score]]
    questions: int | None
    missing: int | None
    passages: float | None
    tokens: float | None
    shares: dict[str, float | None]


# Metric and share names in the report, with their titles; other metrics are shown under their own name.
TITLES = {
    "headline": "answer",
    "selection_f1": "selection F1",
    "selection_precision": "selection precision",
    "selection_recall": "selection recall",
    "em": "EM",
    "f1": "F1",
    "contains": "contains",
    "accuracy": "label accuracy",
    "str_em": "str-EM",
    "rouge_l": "ROUGE-L",
}
SHARES = {"none_share": "None", "malformed_share": "malformed", "no_answer_share": "no answer"}


def metric_order(systems: Iterable[SystemResults]) -> list[str]:
    """The metrics that any of the systems has, headline and selection first."""
    found = dict.fromkeys(metric for system in systems for metric in system.scores)
    return [name for name in TITLES if name in found] + [name for name in found if name not in TITLES]


def system_results(report: object) -> list[SystemResults]:
    """The systems of a report of `eval`.

    Raises:
        ValueError: It is no such report.
    """
    if not isinstance(report, dict) or not isinstance(report.get("systems"), list):
        raise ValueError("not a report of drag eval (it has no list 'systems')")
    return [_system(row) for row in report["systems"] if isinstance(row, dict)]


def _system(row: dict[str, Any]) -> SystemResults:
    def count(name: str) -> int | None:
        value = finite(row.get(name))
        return None if value is None else int(value)

    by_dataset = row.get("by_dataset")
    return SystemResults(
        name=str(row.get("system", "?")),
        scores=_scores(row.get("scores")),
        by_dataset={str(name): _scores(part) for name, part in by_dataset.items()} if isinstance(by_dataset, dict) else {},
        questions=count("questions"),
        missing=count("missing"),
        passages=finite(row.get("mean_passages")),
        tokens=finite(row.get("mean_reader_tokens")),
        shares={name: finite(row.get(name)) for name in SHARES},
    )


def _scores(table: object) -> dict[str, Score]:
    """Scores that are numbers; one that is NaN is left out and so shown as a dash."""
    found = {}
    for name, entry in table.items() if isinstance(table, dict) else ():
        mean = finite(entry.get("mean")) if isinstance(entry, dict) else None
        if mean is not None:
            low, high = finite(entry.get("low")), finite(entry.get("high"))
            found[str(name)] = Score(mean, mean if low is None else low, mean if high is None else high)
    return found
