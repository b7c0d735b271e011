"""What a study of selectors allows to say about a dynamic number of passages, in one sentence with its interval.

Every dynamic selector is compared with the best fixed k of the same questions. That one is picked after the fact, which favours
it; with several dynamic selectors the intervals are widened (Bonferroni), so that trying many does not find a winner by itself.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dynamicrag_cli.core.statistics import BOTH_WAYS, LEVEL, paired
from dynamicrag_cli.stages.contenders import Row, best_fixed

# Answers that are at most this much worse count as equally good where fewer passages are read.
MARGIN = 0.02


def conclude(rows: Sequence[Row], keys: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """`verdict`, `sentence` and, in `compared`, every dynamic selector against the best fixed k.

    The verdict is `better` (answers better), `cheaper` (reads less, answers within MARGIN), `worse` (all of them do), `open`
    (nothing can be concluded) or `nothing` (there is nothing to compare).
    """
    dynamic = [row for row in rows if row.family == "dynamic"]
    if not dynamic or not any(row.family == "fixed" for row in rows):
        lacking = "a selector that chooses its own k" if not dynamic else "a fixed k, such as top-k:3"
        sentence = f"Whether dynamic k is worth it cannot be said: among the files there is none of {lacking}."
        return {"verdict": "nothing", "sentence": sentence, "level": LEVEL, "compared": []}
    fixed = best_fixed(rows, keys)
    level = 1 - (1 - LEVEL) / len(dynamic)
    compared = [_against(row, fixed, keys, seed, level) for row in dynamic]
    kind, chosen = _choose(compared)
    return {"verdict": kind, "sentence": _sentence(kind, chosen, compared), "level": level, "compared": compared}


def _against(row: Row, fixed: Row, keys: Sequence[str], seed: int, level: float) -> dict[str, Any]:
    answer = paired([row.answers[key] for key in keys], [fixed.answers[key] for key in keys], seed, level, BOTH_WAYS)
    passages = paired([float(row.passages(key)) for key in keys], [float(fixed.passages(key)) for key in keys], seed, level)
    verdict = "open"
    # The bootstrap of four or five differing questions can leave 0 out where the test says that chance does as much.
    sure = answer.p_value < 1 - level
    if sure and answer.low > 0:
        verdict = "better"
    elif sure and answer.high < 0:
        verdict = "worse"
    elif answer.low >= -MARGIN and passages.high < 0:
        verdict = "cheaper"
    return {
        "system": row.name,
        "fixed": fixed.name,
        "verdict": verdict,
        "answer": asdict(answer),
        "passages": asdict(passages),
        "mean_passages": sum(map(row.passages, keys)) / len(keys),
        "fixed_mean_passages": sum(map(fixed.passages, keys)) / len(keys),
        "one_k": len({row.passages(key) for key in keys}) == 1,
    }


def _choose(compared: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The verdict over all dynamic selectors, and the one that it is about."""
    by = {kind: [found for found in compared if found["verdict"] == kind] for kind in ("better", "cheaper", "open", "worse")}
    kind = next(kind for kind, found in by.items() if found)
    if kind == "cheaper":
        return kind, min(by[kind], key=lambda found: found["passages"]["mean"])
    return kind, max(by[kind], key=lambda found: found["answer"]["mean"])


def _sentence(kind: str, found: dict[str, Any], compared: Sequence[dict[str, Any]]) -> str:
    n_dynamic, worse = len(compared), [other["system"] for other in compared if other["verdict"] == "worse"]
    answer = found["answer"]
    ends = f"[{100 * answer['low']:+.1f}, {100 * answer['high']:+.1f}]"
    points = f"{100 * answer['mean']:+.1f} points {ends}, p {answer['p_value']:.2g}"
    read = f"{found['mean_passages']:.2f} passages instead of {found['fixed_mean_passages']:.2f}"
    if found["one_k"]:
        read += " (always the same number: the difference is in which passages, not in how many)"
    ours, theirs, n = found["system"], found["fixed"], answer["n"]
    wide = f" (interval widened for {n_dynamic} dynamic selectors)" if n_dynamic > 1 else ""
    others = f"; {', '.join(worse)} {'answers' if len(worse) == 1 else 'answer'} worse" if worse else ""
    if kind == "better":
        return (
            f"Dynamic k is worth it on these {n} questions: {ours} answers better than the best fixed k, {theirs}:"
            f" {points}{wide}, reading {read}{others}."
        )
    if kind == "cheaper":
        return (
            f"Dynamic k saves reading on these {n} questions: {ours}, against the best fixed k, {theirs}, reads {read}"
            f" and answers no more than {100 * MARGIN:.0f} points worse: {points}{wide}{others}."
        )
    if kind == "worse":
        return (
            f"Dynamic k is not worth it on these {n} questions: its best selector, {ours}, answers worse than the best fixed k,"
            f" {theirs}: {points}{wide}."
        )
    return (
        f"Nothing can be concluded about dynamic k from these {n} questions: {ours} against the best fixed k, {theirs}, is"
        f" {points}{wide}, reading {read};"
        f" true differences below about {100 * answer['detectable']:.1f} points could go unseen{others}."
    )
