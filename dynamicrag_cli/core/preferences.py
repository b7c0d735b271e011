"""Preference pairs from rewarded rollouts: best against worst, never equal sides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dynamicrag_cli.core.identifiers import WELL_FORMED
from dynamicrag_cli.core.records import RewardedQuestion, Rollout


@dataclass(frozen=True)
class Ranked:
    """A rollout with its total reward."""

    rollout: Rollout
    reward: float


@dataclass(frozen=True)
class Choice:
    """A chosen pair of rollouts, or the reason why there is none."""

    best: Ranked | None = None
    worst: Ranked | None = None
    reason: str = "kept"

    @property
    def margin(self) -> float:
        """Reward of the best minus reward of the worst."""
        return self.best.reward - self.worst.reward if self.best and self.worst else 0.0


def ranked_rollouts(record: RewardedQuestion, totals: Sequence[float | None]) -> list[Ranked]:
    """Well-formed rollouts that have a total, one per selection, best first; ties go to fewer passages, then to the earlier."""
    seen: dict[tuple[str, ...], Ranked] = {}
    for rollout, value in zip(record.rollouts, totals, strict=True):
        if value is not None and rollout.status in WELL_FORMED:
            seen.setdefault(tuple(rollout.selection), Ranked(rollout, value))
    return sorted(seen.values(), key=lambda item: (-item.reward, len(item.rollout.selection)))


def reranker_choice(ranked: Sequence[Ranked], min_margin: float) -> Choice:
    """Best against worst selection by total reward."""
    if not ranked:
        return Choice(reason="no usable rollout")
    if len(ranked) < 2:
        return Choice(reason="all selections equal")
    choice = Choice(ranked[0], ranked[-1])
    # The tolerance keeps a difference of exactly the margin from being lost to rounding.
    return choice if choice.margin > 0 and choice.margin >= min_margin - 1e-9 else Choice(reason="margin too small")


@dataclass(frozen=True)
class AnswerChoice:
    """Chosen and rejected answer to the best rollout's prompt, or the reason why there is no such pair."""

    chosen: str = ""
    rejected: str = ""
    reason: str = "kept"


def generator_choice(ranked: Sequence[Ranked], gold: Sequence[str], is_right: Callable[[str], bool]) -> AnswerChoice:
    """For the best rollout's passages: its answer if right, else the gold answer, against a wrong answer of another rollout.

    The rejected answer always belongs to the same question; where no other rollout was wrong there is no pair.
    """
    if not ranked:
        return AnswerChoice(reason="no usable rollout")
    best = ranked[0].rollout
    others = [item.rollout.answer for item in reversed(ranked[1:])]
    wrong = [answer for answer in others if answer and answer.strip() and not is_right(answer)]
    if not wrong:
        return AnswerChoice(reason="no wrong answer")
    if best.answer and is_right(best.answer):
        return AnswerChoice(best.answer, wrong[0])
    if not gold:
        return AnswerChoice(reason="no gold answer")
    others_than_gold = [answer for answer in wrong if answer.strip() != gold[0].strip()]
    return AnswerChoice(gold[0], others_than_gold[0]) if others_than_gold else AnswerChoice(reason="no wrong answer")
