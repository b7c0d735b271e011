"""The reader's feedback for RRPO: the reward of its answer from some passages, for many lists of passages at once."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from dynamicrag_cli.core.engine import Engine
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.metrics import METRICS, contains, rouge_l, token_f1
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import RetrievedQuestion, Rollout
from dynamicrag_cli.core.rewards import length_reward
from dynamicrag_cli.core.tasks import is_right, task_of
from dynamicrag_cli.stages import rollouts

Key = tuple[str, str, str, str]
Asked = tuple[RetrievedQuestion, tuple[str, ...]]


class Cache(Protocol):
    """Where answers are kept between calls and runs."""

    def get(self, keys: Sequence[Key]) -> dict[Key, str]:
        """The answers that are known."""
        ...

    def put(self, answers: Iterable[tuple[Key, str]]) -> None:
        """Keep answers."""
        ...


class Feedback:
    """Asks the reader at temperature 0, everything that is not in the cache in one call, and rewards its answers.

    `reader_name` stands for the reader and how it is run in the keys of the cache. A failed answer has no reward (None) and is
    not kept. `n_asked`, `n_cached` and `n_failed` count lists of passages.
    """

    def __init__(self, reader: Engine, prompts: PromptSet, weights: dict[str, float], cache: Cache, reader_name: str) -> None:
        self.reader, self.prompts, self.weights, self.cache, self.reader_name = reader, prompts, weights, cache, reader_name
        made_of = (sorted(prompts.sources.items()), sorted(prompts.rules.items()), sorted(prompts.control_tokens))
        self.prompts_name = hashlib.sha256(repr(made_of).encode()).hexdigest()
        self.n_asked = self.n_cached = self.n_failed = 0

    def __call__(self, asked: Sequence[Asked]) -> list[float | None]:
        """One reward per (question, ordered passage ids): the weighted sum of the terms, None where the reader failed."""
        keys = [self._key(record, selection) for record, selection in asked]
        known = self.cache.get(list(dict.fromkeys(keys)))
        self.n_asked += len(keys)
        self.n_cached += sum(key in known for key in keys)
        missing = {key: pair for key, pair in zip(keys, asked, strict=True) if key not in known}
        known.update(self._ask(missing))
        self.n_failed += sum(key not in known for key in keys)
        return [
            reader_reward(record, known[key], len(selection), self.weights) if key in known else None
            for key, (record, selection) in zip(keys, asked, strict=True)
        ]

    def _key(self, record: RetrievedQuestion, selection: tuple[str, ...]) -> Key:
        """Of all that the prompt is made of, which is quicker than rendering it."""
        texts = [f"{doc.title}\x1f{doc.text}" for doc in rollouts.chosen_docs(record, selection)]
        prompt = "\x1e".join((self.prompts_name, record.dataset, record.question, *texts))
        return (record.id, "\x1f".join(selection), self.reader_name, hashlib.sha256(prompt.encode()).hexdigest())

    def _ask(self, missing: dict[Key, Asked]) -> dict[Key, str]:
        lists = [[Rollout(selection=[*selection], status="ok" if selection else "none")] for _, selection in missing.values()]
        answered = rollouts.answer([record for record, _ in missing.values()], lists, self.reader, self.prompts)
        replies = {key: group[0].answer for key, group in zip(missing, answered, strict=True)}
        made = {key: reply for key, reply in replies.items() if reply is not None}
        self.cache.put(made.items())
        return made


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
