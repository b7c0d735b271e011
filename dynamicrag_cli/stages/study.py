"""`eval --study`: is a number of passages that depends on the question worth it?

Predictions of several selectors for the same questions, answered by one reader, are laid side by side: what each reads and how
well it answers, the best that any choice of k could have reached, and one conclusion that claims no more than the intervals do.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from dynamicrag_cli.core.identifiers import WELL_FORMED
from dynamicrag_cli.core.pareto import pareto_front
from dynamicrag_cli.core.records import Question
from dynamicrag_cli.core.statistics import BOTH_WAYS, UNIT, estimate, paired
from dynamicrag_cli.stages.compare import shared_questions
from dynamicrag_cli.stages.conclusion import conclude
from dynamicrag_cli.stages.contenders import Row, best_fixed, row_of, sweep_of
from dynamicrag_cli.stages.evaluate import Scored

NEVER = "never"


def study(
    scored: Sequence[Scored],
    gold: Mapping[str, Question],
    *,
    common: bool = False,
    seed: int = 0,
    seconds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The study as one document: `systems`, `oracle_k`, `difficulty`, `k_by_dataset`, `k_by_difficulty`, `order`, `conclusion`.

    Args:
        scored: One file per system.
        gold: The gold questions by id.
        common: Study the questions that all files have, where they differ.
        seed: Seed of the intervals.
        seconds: Seconds per question by system, where they are known.

    Raises:
        ValueError: The files answer different questions, one holds several selectors, or nothing has a gold answer.
    """
    shared = shared_questions([part.files[0] for part in scored], common=common)
    rows = [row_of(part) for part in scored]
    keys = [key for key in shared if key in rows[0].answers]
    if not keys:
        raise ValueError("no question that all files answer has a gold answer; there is nothing to study")
    asked = {key for part in scored for key in part.files[0].rollouts}
    oracle = _oracle(rows, keys)
    levels = _difficulty(oracle)
    return {
        "questions": len(keys),
        "left_out": len(asked) - len(keys),
        "systems": _systems(rows, keys, seconds or {}, seed),
        "oracle_k": _oracle_report(rows, oracle, keys, seed),
        "difficulty": dict(Counter(levels.values())),
        "k_by_dataset": {row.name: _shares_of_k(row, {key: gold[key].dataset for key in keys}) for row in rows},
        "k_by_difficulty": {row.name: _shares_of_k(row, levels) for row in rows},
        "order": _orders(rows, keys, seed),
        "conclusion": conclude(rows, keys, seed),
    }


def _systems(rows: Sequence[Row], keys: Sequence[str], seconds: Mapping[str, float], seed: int) -> list[dict[str, Any]]:
    made = [_system(row, keys, seconds.get(row.name), seed) for row in rows]
    for cost in ("passages", "reader_tokens"):
        # What knows the gold passages is no choice that anybody has, and what has no cost has no place.
        real = [entry for entry in made if entry["family"] != "ceiling" and entry[cost] is not None]
        front = pareto_front([(entry["answer"]["mean"], entry[cost]["mean"]) for entry in real])
        for entry in made:
            entry[f"on_front_by_{cost}"] = any(on and entry is other for on, other in zip(front, real, strict=True))
    return made


def _system(row: Row, keys: Sequence[str], seconds: float | None, seed: int) -> dict[str, Any]:
    tokens = [float(count) for key in keys if (count := row.rollouts[key].n_reader_tokens) is not None]
    chose_none = [key for key in keys if row.rollouts[key].status == "none"]
    judged = [key for key in chose_none if key in row.gold_offered]
    return {
        "system": row.name,
        "selector": str(row.selector),
        "family": row.family,
        "answer": asdict(estimate([row.answers[key] for key in keys], seed, span=UNIT)),
        "passages": asdict(estimate([float(row.passages(key)) for key in keys], seed)),
        "reader_tokens": asdict(estimate(tokens, seed)) if tokens else None,
        "malformed_share": sum(row.rollouts[key].status not in WELL_FORMED for key in keys) / len(keys),
        "none_share": len(chose_none) / len(keys),
        # Two meanings of a right None: the reader answered without passages, and there was no gold passage to choose.
        "none_answered": _share(row.answers[key] for key in chose_none),
        "none_justified": _share(float(not row.gold_offered[key]) for key in judged),
        "calls": sum(row.calls(key) for key in keys) / len(keys),
        "seconds": seconds,
    }


def _share(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None


def _oracle(rows: Sequence[Row], keys: Sequence[str]) -> dict[str, Row] | None:
    """Per question, the row of the sweep that answers best, of equals the one that reads least; None without a sweep."""
    sweep = sweep_of(rows)
    if len(sweep) < 2:
        return None
    return {key: max(sweep, key=lambda row: (row.answers[key], -row.passages(key))) for key in keys}


def _oracle_report(
    rows: Sequence[Row], oracle: Mapping[str, Row] | None, keys: Sequence[str], seed: int
) -> dict[str, Any] | None:
    if oracle is None:
        return None
    best = best_fixed(rows, keys)
    answers = [oracle[key].answers[key] for key in keys]
    gain = paired(answers, [best.answers[key] for key in keys], seed, span=UNIT)
    return {
        "over": [row.name for row in sweep_of(rows)],
        "answer": asdict(estimate(answers, seed, span=UNIT)),
        "passages": asdict(estimate([float(oracle[key].passages(key)) for key in keys], seed)),
        "best_fixed": best.name,
        # No p-value: an oracle cannot lose.
        "gain": {name: value for name, value in asdict(gain).items() if name in ("mean", "low", "high", "n")},
    }


def _difficulty(oracle: Mapping[str, Row] | None) -> dict[str, str]:
    """How many passages each question needs: the least of the sweep that answers it best, or `never` where none is right."""
    if oracle is None:
        return {}
    return {key: str(row.passages(key)) if row.answers[key] > 0 else NEVER for key, row in oracle.items()}


def _shares_of_k(row: Row, groups: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Per group of questions, the share of them for which each number of passages was read."""
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for key, group in groups.items():
        found[group][row.passages(key)] += 1
    return {
        group: {str(k): count / sum(counts.values()) for k, count in sorted(counts.items())}
        for group, counts in sorted(found.items())
    }


def _orders(rows: Sequence[Row], keys: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """What another order of the same passages does to the answers, for every row that has a partner in its own order."""
    found = []
    for row in rows:
        plain = [other for other in rows if row.selector.order and other.selector == replace(row.selector, order="")]
        same = {other.name: [key for key in keys if _same_set(row, other, key)] for other in plain}
        other = max(plain, key=lambda partner: len(same[partner.name]), default=None)
        if other is None or not same[other.name]:
            continue
        both = same[other.name]
        ours, theirs = [row.answers[key] for key in both], [other.answers[key] for key in both]
        found.append(
            {
                "system": row.name,
                "compared_with": other.name,
                "questions": len(both),
                "changed_share": sum(one != two for one, two in zip(ours, theirs, strict=True)) / len(both),
                "difference": asdict(paired(ours, theirs, seed, span=BOTH_WAYS)),
            }
        )
    return found


def _same_set(one: Row, other: Row, key: str) -> bool:
    chosen = {*one.rollouts[key].selection}
    return len(chosen) > 1 and chosen == {*other.rollouts[key].selection}
