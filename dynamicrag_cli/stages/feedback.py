"""The reader's feedback for RRPO: the reward of its answer from some passages, for many lists of passages at once."""

from collections import Counter
from collections.abc import Mapping, Sequence

from dynamicrag_cli.core.engine import Engine
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.metrics import contains, token_f1
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import RetrievedQuestion, Rollout
from dynamicrag_cli.core.rewards import total
from dynamicrag_cli.core.runs import same_reason
from dynamicrag_cli.stages import rollouts
from dynamicrag_cli.stages.reward import ModelTerm, finite, pure_terms

Asked = tuple[RetrievedQuestion, tuple[str, ...]]


class Feedback:
    """Asks the reader at temperature 0, everything in one call, and rewards its answers.

    The same lists come again in every pass over the questions, so the reader should be one that remembers its greedy replies.
    `weights` are of `core.rewards.READER_TERMS`; `model_terms` has those with a weight that need a model. An answer that failed,
    or whose term failed, has no reward (None). `n_asked` counts lists of passages, `reasons` why some have none.
    """

    def __init__(
        self, reader: Engine, prompts: PromptSet, weights: dict[str, float], model_terms: Mapping[str, ModelTerm] | None = None
    ) -> None:
        self.reader, self.prompts, self.weights, self.model_terms = reader, prompts, weights, model_terms or {}
        self.n_asked = 0
        self.reasons: Counter[str] = Counter()

    def __call__(self, asked: Sequence[Asked]) -> list[float | None]:
        """One reward per (question, ordered passage ids): the weighted sum of the terms, None where one of them is unknown."""
        lists = [[Rollout(selection=[*selection], status="ok" if selection else "none")] for _, selection in asked]
        answered = rollouts.answer([record for record, _ in asked], lists, self.reader, self.prompts)
        read = [(record, group[0]) for (record, _), group in zip(asked, answered, strict=True)]
        jobs = [(record, rollout.answer) for record, rollout in read if rollout.answer is not None]
        tables = {name: iter(term(jobs)) for name, term in self.model_terms.items()}
        rewards = []
        for record, rollout in read:
            terms = reader_terms(record, rollout)
            if rollout.answer is not None:
                terms.update({name: finite(next(table)) for name, table in tables.items()})
            rewards.append(total(terms, self.weights))
            if rewards[-1] is None:
                self.reasons[same_reason(rollout.error or "a term of the reward is unknown")] += 1
        self.n_asked += len(rewards)
        return rewards


def reader_terms(record: RetrievedQuestion, rollout: Rollout) -> dict[str, float | None]:
    """The terms that need no model: those of `reward`, `f1`, and RRPO's `hit`, 1 if a gold answer occurs, else -1."""
    terms, gold = pure_terms(record, rollout), references(record)
    if rollout.answer is None:
        return terms
    return {**terms, "f1": token_f1(rollout.answer, gold), "hit": 2 * contains(rollout.answer, gold) - 1}
