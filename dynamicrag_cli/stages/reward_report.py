"""`eval` of rewarded rollouts: what the reward pays for. Reward hacking shows here before a model is trained on it."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from dynamicrag_cli.core.records import RewardedQuestion

_JUDGED_RIGHT = 0.5


def reward_report(records: Iterable[RewardedQuestion], name: str) -> dict[str, Any]:
    """Means and spreads of the terms, correlations of the total, and how often judge and EM disagree.

    `sd` is the standard deviation over all rollouts. A correlation is Pearson's over the rollouts that have a total, `within` the
    same after each question's own means are taken off, which is what preference pairs see; None where one side does not vary.
    Judge and EM disagree where the judge gives at least half of the points and `em` is below 1, or the other way round.
    """
    values: dict[str, list[float]] = {}
    failed: dict[str, int] = {}
    groups: list[list[tuple[float, float, float]]] = []
    pairs: list[tuple[bool, bool]] = []
    n_rollouts = 0
    for record in records:
        group = []
        for rollout, reward in zip(record.rollouts, record.rewards, strict=True):
            n_rollouts += 1
            for term, value in {**reward.terms, "total": reward.total}.items():
                values.setdefault(term, [])
                failed[term] = failed.get(term, 0) + (value is None)
                if value is not None:
                    values[term].append(value)
            em, judge = reward.terms.get("em"), reward.terms.get("judge")
            if em is not None and judge is not None:
                pairs.append((em >= 1, judge >= _JUDGED_RIGHT))
            if reward.total is not None and rollout.answer is not None:
                group.append((reward.total, float(len(rollout.selection)), float(len(rollout.answer.split()))))
        groups.append(group)
    return {
        "system": name,
        "questions": len(groups),
        "rollouts": n_rollouts,
        "terms": {
            term: {
                "mean": statistics.fmean(found) if found else None,
                "sd": statistics.pstdev(found) if found else None,
                "n": len(found),
                "failed": failed[term],
            }
            for term, found in values.items()
        },
        "correlation": {"k": _correlations(groups, 1), "answer_words": _correlations(groups, 2)},
        "judge_against_em": _disagreement(pairs),
    }


def _correlations(groups: Sequence[Sequence[tuple[float, float, float]]], place: int) -> dict[str, float | None]:
    points = [(row[0], row[place]) for group in groups for row in group]
    centred = []
    for group in groups:
        if group:
            total, other = (statistics.fmean(row[i] for row in group) for i in (0, place))
            centred += [(row[0] - total, row[place] - other) for row in group]
    return {"all": _pearson(points), "within": _pearson(centred)}


def _pearson(points: Sequence[tuple[float, float]]) -> float | None:
    try:
        return statistics.correlation([one for one, _ in points], [other for _, other in points])
    except statistics.StatisticsError:  # fewer than two points, or one side is constant
        return None


def _disagreement(pairs: Sequence[tuple[bool, bool]]) -> dict[str, float | int] | None:
    if not pairs:
        return None
    return {
        "n": len(pairs),
        "judge_only": sum(judge and not em for em, judge in pairs) / len(pairs),
        "em_only": sum(em and not judge for em, judge in pairs) / len(pairs),
    }
