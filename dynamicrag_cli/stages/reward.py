"""`reward`: rollouts in, every reward term and the weighted total per rollout out."""

import math
from collections.abc import Callable, Sequence

from dynamicrag_cli.core.identifiers import WELL_FORMED
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.metrics import METRICS, rouge_l
from dynamicrag_cli.core.records import Reward, RewardedQuestion, Rollout, SampledQuestion, extend
from dynamicrag_cli.core.rewards import MODEL_TERMS, length_reward, total
from dynamicrag_cli.core.tasks import is_right, task_of
from dynamicrag_cli.stages.outcome import Outcome

# (question, gold answers, answer) of every rollout -> a value in [0, 1], or None where the term failed.
ModelTerm = Callable[[Sequence[tuple[SampledQuestion, str]]], list[float | None]]


def reward(records: Sequence[SampledQuestion], weights: dict[str, float], model_terms: dict[str, ModelTerm]) -> list[Outcome]:
    """Terms with a weight, computed for all rollouts of all records; model terms are batched over the whole chunk."""
    usable = [record for record in records if _is_answerable(record)]
    answered = [(record, rollout.answer) for record in usable for rollout in record.rollouts if rollout.answer is not None]
    tables = {name: iter(model_terms[name](answered)) for name in MODEL_TERMS if weights.get(name)}
    made: list[Outcome] = []
    for record in records:
        if not _is_answerable(record):
            made.append(ValueError("the question has no gold answers to reward against"))
            continue
        rewards = []
        for rollout in record.rollouts:
            terms = _pure_terms(record, rollout, weights)
            # A model term has one value for each rollout with an answer, in this very order.
            terms.update({name: _finite(next(table)) if rollout.answer is not None else None for name, table in tables.items()})
            rewards.append(Reward(total=total(terms, weights), terms=terms))
        made.append(extend(record, RewardedQuestion, rewards=rewards))
    return made


def _is_answerable(record: SampledQuestion) -> bool:
    return bool(references(record))


def _finite(value: float | None) -> float | None:
    """A term that came out as NaN or infinite has failed."""
    return value if value is not None and math.isfinite(value) else None


def _pure_terms(record: SampledQuestion, rollout: Rollout, weights: dict[str, float]) -> dict[str, float | None]:
    """The terms that need no model; None for a rollout without an answer (a failure, not a zero).

    `em` is the metric that decides whether an answer of this task is right: exact match, label accuracy or string EM.
    """
    task = task_of(record.dataset)
    terms: dict[str, float | None] = {}
    for name, weight in weights.items():
        if not weight or name in MODEL_TERMS:
            continue
        if rollout.answer is None:
            terms[name] = None
        elif name == "em":
            terms[name] = METRICS[is_right(task)](rollout.answer, record.answers, record.meta, task)
        elif name == "rouge":
            terms[name] = rouge_l(rollout.answer, references(record))
        else:
            terms[name] = length_reward(len(rollout.selection)) if rollout.status in WELL_FORMED else None
    return terms
