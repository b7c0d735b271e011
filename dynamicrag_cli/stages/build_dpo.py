"""`build-dpo`: rewarded questions in, preference pairs for both roles out.

A gold answer takes the place of a wrong one only where the passages that were read hold evidence. The best of many wrong rollouts
is often the one that read nothing; the gold answer, chosen there, would teach to guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.identifiers import format_selection
from dynamicrag_cli.core.labels import may_hold_evidence, references
from dynamicrag_cli.core.metrics import METRICS, normalize
from dynamicrag_cli.core.preferences import Choice, Ranked, generator_choice, ranked_rollouts, reranker_choice
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import PreferencePair, Record, RewardedQuestion
from dynamicrag_cli.core.rewards import total
from dynamicrag_cli.core.splits import unit_hash
from dynamicrag_cli.core.tasks import is_right, task_of
from dynamicrag_cli.stages.outcome import Emission, Outcome

RERANKER_FILE, GENERATOR_FILE = "reranker_dpo", "generator_dpo"


@dataclass(frozen=True)
class PairOptions:
    """How pairs are chosen.

    Attributes:
        min_margin: Least difference of total reward between best and worst.
        weights: Weights to apply to the stored terms instead of the stored totals; None keeps those.
        generator_share: Share of the questions that give generator pairs alone, while the others give reranker pairs alone, by
            (seed, normalised question); None lets every question give both.
        seed: Seed of that choice.
    """

    min_margin: float = 0.1
    weights: dict[str, float] | None = None
    generator_share: float | None = None
    seed: int = 0


def build_dpo(records: Sequence[RewardedQuestion], prompts: PromptSet, options: PairOptions) -> list[Outcome]:
    """At most one reranker pair and one generator pair per question; the note says why a pair is missing."""
    return [_emit(record, prompts, options) for record in records]


def _emit(record: RewardedQuestion, prompts: PromptSet, options: PairOptions) -> Outcome:
    if options.weights:
        _check_terms(record, options.weights)
    totals = [total(reward.terms, options.weights) if options.weights else reward.total for reward in record.rewards]
    ranked = ranked_rollouts(record, totals)
    files: dict[str, list[Record]] = {}
    roles = _roles(record, options)
    choice = reranker_choice(ranked, options.min_margin) if "reranker" in roles else Choice(reason="another part")
    if choice.best and choice.worst:
        # The very prompt of the rollouts: candidates that did not fit were not offered.
        chat = prompts.reranker(record.question, record.docs[: len(record.docs) - choice.best.rollout.n_unseen])
        files[RERANKER_FILE] = [
            PreferencePair(
                id=record.id,
                role="reranker",
                system=chat.system,
                user=chat.user,
                chosen=_reply(record, choice.best),
                rejected=_reply(record, choice.worst),
                margin=choice.margin,
            )
        ]
    pair, reason = _generator_pair(record, ranked, prompts) if "generator" in roles else (None, "another part")
    if pair:
        files[GENERATOR_FILE] = [pair]
    return Emission(f"reranker: {choice.reason}{_lengths(choice)}; generator: {reason}", files)


def _roles(record: RewardedQuestion, options: PairOptions) -> tuple[str, ...]:
    """The roles for which this question gives pairs."""
    if options.generator_share is None:
        return "reranker", "generator"
    point = unit_hash("role", options.seed, normalize(record.question))
    return ("generator",) if point < options.generator_share else ("reranker",)


def _lengths(choice: Choice) -> str:
    """Of a kept pair, whether it teaches to read fewer passages or more."""
    if not (choice.best and choice.worst):
        return ""
    more = len(choice.best.rollout.selection) - len(choice.worst.rollout.selection)
    return f" ({'more' if more > 0 else 'fewer' if more < 0 else 'as many'} passages on the chosen side)"


def _check_terms(record: RewardedQuestion, weights: dict[str, float]) -> None:
    """Refuse weights of terms that were never computed, which would leave every rollout without a total.

    Raises:
        InputError: Naming the term and what computes it.
    """
    for name, weight in weights.items():
        if weight and record.rewards and all(name not in reward.terms for reward in record.rewards):
            raise InputError(
                f"question {record.id!r} has no term {name!r} (it has {', '.join(sorted(record.rewards[0].terms))}); "
                f"compute it with: drag reward … --weights '{name}={weight}'"
            )


def _reply(record: RewardedQuestion, ranked: Ranked) -> str:
    place = {doc.id: position for position, doc in enumerate(record.docs)}
    return format_selection([place[name] for name in ranked.rollout.selection])


def _generator_pair(record: RewardedQuestion, ranked: Sequence[Ranked], prompts: PromptSet) -> tuple[PreferencePair | None, str]:
    task = task_of(record.dataset)
    metric = METRICS[is_right(task)]
    choice = generator_choice(ranked, references(record), lambda text: metric(text, record.answers, record.meta, task) >= 1.0)
    if choice.reason != "kept":
        return None, choice.reason
    by_id = {doc.id: doc for doc in record.docs}
    best = ranked[0].rollout
    read = [by_id[name] for name in best.selection[: len(best.selection) - best.n_unread]]
    if choice.chosen != best.answer and not may_hold_evidence(record, read):
        return None, "the passages do not hold the gold answer"
    chat = prompts.generator(record, read)
    margin = metric(choice.chosen, record.answers, record.meta, task) - metric(choice.rejected, record.answers, record.meta, task)
    if margin <= 0:
        return None, "the gold answer scores no better"
    return (
        PreferencePair(
            id=record.id,
            role="generator",
            system=chat.system,
            user=chat.user,
            chosen=choice.chosen,
            rejected=choice.rejected,
            margin=margin,
        ),
        "kept",
    )
