"""`eval --baseline`: two systems on the same questions, difference by difference."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dynamicrag_cli.core.records import QuestionScores
from dynamicrag_cli.core.statistics import BOTH_WAYS, LEVEL, paired
from dynamicrag_cli.stages.evaluate import Scored, System

_NAMED = 3


def shared_questions(files: Sequence[System], *, common: bool) -> list[str]:
    """The ids that every file has a prediction for, in the order of the first file.

    Raises:
        ValueError: The files answer different questions and `common` is not set, or no question is in all of them.
    """
    first, *others = files
    shared = {*first.rollouts}.intersection(*(other.rollouts for other in others))
    if not common:
        for system in files:
            lacking = [name for other in files for name in other.rollouts if name not in system.rollouts]
            if lacking:
                some = ", ".join(map(repr, [*dict.fromkeys(lacking)][:_NAMED]))
                raise ValueError(
                    f"the files answer different questions: {system.name} has no prediction for {len({*lacking})}"
                    f" that another has ({some}, …). Type --common to compare on the {len(shared)} questions that all have"
                )
    if not shared:
        raise ValueError("no question has a prediction in every file; there is nothing to compare")
    return [name for name in first.rollouts if name in shared]


def compare(
    rows: Sequence[QuestionScores],
    baseline: Sequence[QuestionScores],
    questions: Sequence[str],
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, dict[str, float]]:
    """The mean difference to the baseline over `questions`, with all that `paired` says, for each score that both have."""
    ours, theirs = _by_id(rows), _by_id(baseline)
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for key in questions for name in ours[key]):
        both = [key for key in questions if name in ours[key] and name in theirs[key]]
        if both:
            one, other = ([part[key][name] for key in both] for part in (ours, theirs))
            found[name] = asdict(paired(one, other, seed, level, BOTH_WAYS))
    return found


def comparison(system: Scored, baseline: Scored, *, common: bool, seed: int = 0) -> dict[str, Any]:
    """One system against the baseline.

    Raises:
        ValueError: They answer different questions and `common` is not set.
    """
    files = [*system.files, *baseline.files]
    questions = shared_questions(files, common=common)
    return {
        "system": system.files[0].name,
        "baseline": baseline.files[0].name,
        "questions": len(questions),
        "left_out": len({name for part in files for name in part.rollouts}) - len(questions),
        "scores": compare(system.rows, baseline.rows, questions, seed),
    }


def _by_id(rows: Sequence[QuestionScores]) -> Mapping[str, dict[str, float]]:
    return {row.id: row.scores for row in rows}
