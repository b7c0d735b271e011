"""Reading a run folder: what is finished in it, what is missing, and where its records are."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from dynamicrag_cli.adapters.files.jsonl import lines
from dynamicrag_cli.adapters.files.manifest import manifest_path, read_manifest
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Reject
from dynamicrag_cli.core.runs import STEPS, StageFacts, SystemResults, same_reason, stage_facts, system_results
from dynamicrag_cli.core.study_results import StudyResults, study_results

PREDICTIONS = "predictions"
REPORT = "report.json"


@dataclass
class RunFolder:
    """A run folder as it is now.

    Attributes:
        stages: Facts of the finished stages, in the order of the pipeline.
        missing: What is not there or cannot be used, one line for people each.
        systems: Rows of the report of `eval`; empty without one.
        study: What `eval --study` found; None where the report has no study.
        predictions: Finished files of `infer` by system, in the order of the report.
        rewarded: The finished file of `reward`.
    """

    path: Path
    stages: list[StageFacts] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    systems: list[SystemResults] = field(default_factory=list)
    study: StudyResults | None = None
    predictions: dict[str, Path] = field(default_factory=dict)
    rewarded: Path | None = None


def read_run(path: Path) -> RunFolder:
    """Read what a run folder says about itself; whatever is missing or damaged is told in `missing`.

    Raises:
        InputError: The folder is no run folder.
    """
    if not path.is_dir():
        raise InputError(f"{path}: {'no folder' if path.exists() else 'no such folder'}; give the run folder of a pipeline")
    run = RunFolder(path)
    # A run that trains small rerankers has no LLM to train.
    small = sorted(folder for folder in path.glob("rrpo-*") if folder.is_dir())
    for step in STEPS:
        facts = _stage(run, step.name, path / step.place)
        if facts is None and not step.optional and not (step.llm and small):
            run.missing.append(f"{step.name}: {step.place} {_state(path / step.place)} (make {step.target})")
    for folder in small:
        _stage(run, f"train {folder.name}", folder)
    rewarded = path / "rewarded.jsonl"
    run.rewarded = rewarded if manifest_path(rewarded).exists() and rewarded.exists() else None
    _read_predictions(run)
    _read_report(run)
    if not run.stages and not run.systems:
        raise InputError(
            f"{path}: no run folder; it has none of {', '.join(step.place for step in STEPS)}, {PREDICTIONS}, {REPORT}.\n"
            "Give the folder that a pipeline file names under run.dir, such as runs/demo."
        )
    order = {system.name: place for place, system in enumerate(run.systems)}
    run.predictions = dict(sorted(run.predictions.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
    return run


def _stage(run: RunFolder, name: str, output: Path) -> StageFacts | None:
    """The facts of a finished output, kept in `run`; None where it is not there."""
    if not output.exists() or not manifest_path(output).exists():
        return None
    try:
        facts = stage_facts(name, read_manifest(output), _reasons(output), _curve(output))
    except (InputError, ValueError, OSError) as error:
        run.missing.append(f"{name}: {manifest_path(output).name} cannot be read ({error})")
        facts = StageFacts(name)
    run.stages.append(facts)
    return facts


def _curve(output: Path) -> list[dict[str, Any]]:
    path = output / "curve.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def _state(output: Path) -> str:
    return "is unfinished" if output.with_name(output.name + ".partial").exists() else "is missing"


def _reasons(output: Path) -> Counter[str]:
    """Rejected records by reason."""
    path = output / "rejects.jsonl" if output.is_dir() else output.with_name(f"{output.stem}.rejects.jsonl")
    if not path.exists():
        return Counter()
    # Not through the reader of records: rejects may share an id, or have none.
    decoder = msgspec.json.Decoder(Reject)
    counts: Counter[str] = Counter()
    for _, line in lines(str(path)):
        try:
            counts[same_reason(decoder.decode(line).reason)] += 1
        except msgspec.DecodeError:
            counts["(an unreadable line of the file of rejects)"] += 1
    return counts


def _read_predictions(run: RunFolder) -> None:
    folder = run.path / PREDICTIONS
    for file in sorted(folder.glob("*.jsonl")) if folder.is_dir() else ():
        if file.name.endswith(".rejects.jsonl"):
            continue
        if _stage(run, f"infer {file.stem}", file) is None:
            run.missing.append(f"infer {file.stem}: {file.name} is unfinished (make infer)")
        else:
            run.predictions[file.stem] = file
    if not run.predictions:
        run.missing.append(f"infer: {PREDICTIONS} {'is empty' if folder.is_dir() else 'is missing'} (make infer)")


def _read_report(run: RunFolder) -> None:
    path = run.path / REPORT
    if not path.exists():
        run.missing.append(f"eval: {REPORT} is missing (make eval)")
        return
    try:
        loaded: Any = json.loads(path.read_text(encoding="utf-8"))
        run.systems = system_results(loaded)
        run.study = study_results(loaded)
    except (ValueError, OSError, RecursionError) as error:
        run.missing.append(f"eval: {REPORT} cannot be read ({error}) (make eval)")
        return
    run.missing += [
        f"infer {system.name}: in the report, but without predictions in this folder"
        for system in run.systems
        if system.name not in run.predictions
    ]
