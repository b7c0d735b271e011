"""`reward`: rollouts in, every reward term and the weighted total per rollout out."""

import math
from collections.abc import Callable, Sequence

from dynamicrag_cli.core.identifiers import WELL_FORMED
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.metrics import METRICS, rouge_l
from dynamicrag_cli.core.records import RetrievedQuestion, Reward, RewardedQuestion, Rollout, SampledQuestion, extend
from dynamicrag_cli.core.rewards import MODEL_TERMS, PURE_TERMS, length_terms, total
from dynamicrag_cli.core.tasks import is_right, task_of
from dynamicrag_cli.stages.outcome import Outcome

# (question, gold answers, answer) of every rollout -> a value in [0, 1], or None where the term failed.
ModelTerm = Callable[[Sequence[tuple[RetrievedQuestion, str]]], list[float | None]]


def reward(records: Sequence[SampledQuestion], weights: dict[str, float], model_terms: dict[str, ModelTerm]) -> list[Outcome]:
    """All pure terms, and the model terms with a weight, for all rollouts of all records; model terms are batched over the chunk.

    A term without a weight is stored all the same: `build-dpo --weights` may give it one later.
    """
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
            terms = pure_terms(record, rollout)
            # A model term has one value for each rollout with an answer, in this very order.
            terms.update({name: finite(next(table)) if rollout.answer is not None else None for name, table in tables.items()})
            rewards.append(Reward(total=total(terms, weights), terms=terms))
        made.append(extend(record, RewardedQuestion, rewards=rewards))
    return made


def _is_answerable(record: SampledQuestion) -> bool:
    return bool(references(record))


def finite(value: float | None) -> float | None:
    """A term that came out as NaN or infinite has failed."""
    return value if value is not None and math.isfinite(value) else None


def pure_terms(record: RetrievedQuestion, rollout: Rollout) -> dict[str, float | None]:
    """The terms that need no model; None for a rollout without an answer (a failure, not a zero).

    `em` is the metric that decides whether an answer of this task is right: exact match, label accuracy or string EM.
    """
    if rollout.answer is None:
        return dict.fromkeys(PURE_TERMS)
    task = task_of(record.dataset)
    lengths = length_terms(len(rollout.selection), rollout.n_reader_tokens, rollout.answer)
    if rollout.status not in WELL_FORMED:
        lengths = dict.fromkeys(lengths)
    return {
        "em": METRICS[is_right(task)](rollout.answer, record.answers, record.meta, task),
        "rouge": rouge_l(rollout.answer, references(record)),
        **lengths,
    }
