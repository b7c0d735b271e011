"""The reader's feedback for RRPO: the reward of its answer from some passages, for many lists of passages at once."""

from collections.abc import Sequence

from dynamicrag_cli.core.engine import Engine
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.metrics import METRICS, contains, rouge_l, token_f1
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import RetrievedQuestion, Rollout
from dynamicrag_cli.core.rewards import length_reward
from dynamicrag_cli.core.tasks import is_right, task_of
from dynamicrag_cli.stages import rollouts

Asked = tuple[RetrievedQuestion, tuple[str, ...]]


class Feedback:
    """Asks the reader at temperature 0, everything in one call, and rewards its answers.

    The same lists come again in every pass over the questions, so the reader should be one that remembers its greedy replies. A
    failed answer has no reward (None). `n_asked` and `n_failed` count lists of passages.
    """

    def __init__(self, reader: Engine, prompts: PromptSet, weights: dict[str, float]) -> None:
        self.reader, self.prompts, self.weights = reader, prompts, weights
        self.n_asked = self.n_failed = 0

    def __call__(self, asked: Sequence[Asked]) -> list[float | None]:
        """One reward per (question, ordered passage ids): the weighted sum of the terms, None where the reader failed."""
        lists = [[Rollout(selection=[*selection], status="ok" if selection else "none")] for _, selection in asked]
        answered = rollouts.answer([record for record, _ in asked], lists, self.reader, self.prompts)
        answers = [group[0].answer for group in answered]
        self.n_asked += len(answers)
        self.n_failed += answers.count(None)
        return [
            None if answer is None else reader_reward(record, answer, len(selection), self.weights)
            for (record, selection), answer in zip(asked, answers, strict=True)
        ]


def reader_reward(record: RetrievedQuestion, answer: str, n_read: int, weights: dict[str, float]) -> float:
    """The weighted sum of `core.rewards.READER_TERMS` for an answer from `n_read` passages.

    `em` is what decides whether an answer of the task is right; `hit` is 1 if a gold answer occurs in it, else -1 (RRPO).
    """
    task, gold = task_of(record.dataset), references(record)
    value = 0.0
    for name, weight in weights.items():
        if not weight:
            continue
        if name == "em":
            value += weight * METRICS[is_right(task)](answer, record.answers, record.meta, task)
        elif name == "f1":
            value += weight * token_f1(answer, gold)
        elif name == "hit":
            value += weight * (2 * contains(answer, gold) - 1)
        elif name == "rouge":
            value += weight * rouge_l(answer, gold)
        else:
            value += weight * length_reward(n_read)
    return value
