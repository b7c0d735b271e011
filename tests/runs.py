"""Small run folders as `make` leaves them, for the tests of the report."""

import json
from pathlib import Path
from typing import Any

from tests.samples import prediction, sampled, write

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> \u2028 & $x^2$ \u202e"


def manifest(output: Path, **content: Any) -> None:
    """A manifest beside an output, or in a folder."""
    path = output / "manifest.json" if output.is_dir() else output.with_name(output.name + ".manifest.json")
    path.write_text(json.dumps(content))


def rewarded(number: int, **changes: Any) -> dict[str, Any]:
    """A sampled question whose second rollout lost a term."""
    rewards = [{"total": total, "terms": {"em": total, "rouge": 0.5}} for total in (1.0, 1.0, 0.0, 0.0)]
    rewards[1] = {"total": None, "terms": {"em": 1.0, "rouge": None}}
    return {**sampled(number), "rewards": rewards, **changes}


def score(mean: float, low: float, high: float) -> dict[str, float]:
    return {"mean": mean, "low": low, "high": high, "n": 9}


def system(name: str, answer: float = 0.5, **changes: Any) -> dict[str, Any]:
    """One row of a report."""
    scores = {
        "selection_f1": score(0.7, 0.6, 0.8),
        "headline": score(answer, answer - 0.1, answer + 0.1),
        "em": score(answer, 0, 1),
    }
    row = {"system": name, "questions": 9, "missing": 0, "none_share": 0.0, "malformed_share": 1 / 9, "no_answer_share": 0.0}
    return {**row, "mean_passages": 1.0, "mean_reader_tokens": 60.0, "scores": scores, "by_dataset": {"qa": scores}, **changes}


def write_run(folder: Path, *, n: int = 9) -> Path:
    """A run with everything but the index: two systems, of which `sft` is wrong on one question and malformed on another."""
    (folder / "predictions").mkdir(parents=True)
    for name in ("bc", "sft", "dpo", "dpo-data"):
        (folder / name).mkdir()
    counts = {"in": 10, "out": 9, "rejected": 1, "resumed": 0}
    for name in ("candidates", "labelled", "sampled", "rewarded"):
        write(folder / f"{name}.jsonl", [rewarded(number) for number in range(n)])
        manifest(folder / f"{name}.jsonl", counts=counts, notes={"kept": 9}, seconds=1.5, peak_memory_mib=80)
    write(folder / "sampled.rejects.jsonl", [{"line": 3, "id": None, "reason": "the id 'q-7' was met before"}])
    manifest(
        folder / "bc", counts={"in": 9, "out": {"reranker_bc": 6, "dpo_pool": 3}, "rejected": 0}, seconds=0.2, peak_memory_mib=80
    )
    manifest(folder / "dpo-data", counts={"in": 9, "out": {"reranker_dpo": 2}, "rejected": 0}, notes={"margin too small": 7})
    for name in ("sft", "dpo"):
        manifest(folder / name, counts={"in": 9, "steps": 3}, seconds=100.0, loss=[[1, 2.0], [2, 1.5], [3, 1.0]], stage=name)
    made = [prediction(number) for number in range(n)]
    made[1]["rollout"] |= {"selection": [], "status": "no_identifier", "answer": None}
    made[2]["rollout"]["answer"] = "Paris"
    for name, records in (("sft", made), ("gold", [prediction(number) for number in range(n)])):
        write(folder / f"predictions/{name}.jsonl", records)
        manifest(folder / f"predictions/{name}.jsonl", counts={"in": n, "out": n, "rejected": 0}, seconds=2.0, peak_memory_mib=90)
    write_report(folder, system("gold", 0.9), system("sft"))
    return folder


def write_small_run(folder: Path) -> Path:
    """A run that trains two small rerankers and no LLM, as far as its training."""
    for name in ("reranker", "rrpo-fixed", "rrpo-stop"):
        (folder / name).mkdir(parents=True)
        manifest(folder / name, counts={"in": 9, "steps": 2}, seconds=100.0, loss=[[1, 2.0]] if name == "reranker" else None)
    lines = [{"step": step, "utility": 0.25 * step, "reference": 0.5, "passages": 2 - 0.5 * step, "kl": 0} for step in (1, 2)]
    write(folder / "rrpo-stop/curve.jsonl", lines)
    return folder


def write_report(folder: Path, *systems: dict[str, Any], **more: Any) -> None:
    (folder / "report.json").write_text(json.dumps({"gold": "questions.jsonl", "split": None, "systems": systems, **more}))


def contender(name: str, family: str = "fixed", answer: float = 0.5, passages: float = 1.0, **changes: Any) -> dict[str, Any]:
    """One system of a study in a report."""
    row = {
        "system": name,
        "family": family,
        "answer": score(answer, answer - 0.1, answer + 0.1),
        "none_share": 0.25,
        "none_answered": 0.5,
        "none_justified": None,
        "calls": 1.5,
        "on_front_by_reader_tokens": False,
    }
    row |= {"passages": score(passages, 0, 3), "reader_tokens": score(60 * passages, 0, 200), "on_front_by_passages": True}
    return {**row, "seconds": None, **changes}


def study(*contenders: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A study in a report."""
    oracle = {"answer": score(0.75, 0.7, 0.8), "passages": score(1.25, 1, 2), "over": ["top-1"], "best_fixed": "top-1"}
    names = [one.get("system") for one in contenders]
    made = {
        "systems": list(contenders),
        "oracle_k": {**oracle, "gain": score(0.25, 0.125, 0.375)},
        "difficulty": {"never": 2, "10": 3, "2": 4},
        "k_by_difficulty": {name: {"2": {"0": 0.5, "3": 0.5}, "never": {"1": 1.0}} for name in names},
        "k_by_dataset": {name: {"qa": {"1": 1.0}} for name in names},
        "order": [],
        "conclusion": {"sentence": "Nothing can be concluded."},
    }
    return {**made, **changes}
