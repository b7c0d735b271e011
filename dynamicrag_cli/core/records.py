"""The records of the pipeline, in its order. `docs/formats.md` shows one of each.

Files store passage ids. A bracketed identifier (`[3]`) is 1 + the position of a passage in one rendered prompt and never leaves
that prompt. A stage adds fields and never renames one; an `id` never changes; scores inside are in [0, 1] except for the raw
retrieval score.
"""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from dynamicrag_cli.core.tasks import TASKS

SCHEMA_VERSION = 1

Text = Annotated[str, msgspec.Meta(min_length=1)]
Unit = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class BrokenRulesError(ValueError):
    """Fields that are right one by one and wrong together; `rules` are all broken ones as (field, reason)."""

    def __init__(self, rules: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(reason for _, reason in rules))
        self.rules = rules


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all records: frozen, strict, optional fields left out of the file when they are not set."""

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        """Rules between fields that the record breaks, as (field, reason)."""
        yield from ()

    def _check(self) -> None:
        if rules := [*self.broken_rules()]:
            raise BrokenRulesError(rules)


class Passage(Record, frozen=True, kw_only=True):
    """One retrievable text of a corpus."""

    id: Text
    title: str
    text: Text
    meta: dict[str, Any] = {}


class Candidate(Record, frozen=True, kw_only=True):
    """A passage offered for a question; `score` is the retriever's own and has no fixed range."""

    id: Text
    title: str
    text: str
    score: float | None = None


class Question(Record, frozen=True, kw_only=True):
    """A question with its gold answers.

    `gold_passage_ids` is None when nobody knows them and `[]` when it is known that no passage is needed or answers.
    """

    id: Text
    question: Text
    answers: list[str]
    dataset: str
    split: Literal["train", "dev", "test"] | None = None
    gold_passage_ids: list[str] | None = None
    meta: dict[str, Any] = {}

    def __post_init__(self) -> None:
        self._check()

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        """An empty question, or a data set without a task."""
        if not self.question.strip():
            yield "question", "the question is empty"
        if self.dataset not in TASKS:
            yield "dataset", f"unknown dataset {self.dataset!r}; known: {', '.join(sorted(TASKS))} - at `$.dataset`"


class Relevance(Record, frozen=True, kw_only=True):
    """A teacher's relevance of every candidate: `scores` in [0, 1], shape (n_docs,), in the order of `docs`.

    `threshold` is the teacher's recommended cut (None for a teacher whose scores only rank). A teacher that writes replies was
    asked `n_calls` times for this question, and `n_malformed` replies were no whole ranking and had to be repaired.
    """

    teacher: str
    model: str | None
    scores: list[Unit]
    threshold: float | None = None
    n_calls: int = 0
    n_malformed: int = 0


class RetrievedQuestion(Question, frozen=True, kw_only=True):
    """A question with its candidates, in retrieval order; every later record may carry a teacher's relevance."""

    docs: list[Candidate]
    relevance: Relevance | None = None

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        """Also a candidate that stands twice, or not one score of the teacher per candidate."""
        yield from super().broken_rules()
        if len({doc.id for doc in self.docs}) != len(self.docs):
            twice = sorted(name for name, count in Counter(doc.id for doc in self.docs).items() if count > 1)
            yield "docs", f"a passage id stands twice among the candidates: {', '.join(map(repr, twice))}"
        if self.relevance is not None and len(self.relevance.scores) != len(self.docs):
            yield "relevance", f"relevance has {len(self.relevance.scores)} scores for {len(self.docs)} candidates"


class LabelledQuestion(RetrievedQuestion, frozen=True, kw_only=True):
    """A retrieved question with a teacher's relevance."""

    relevance: Relevance


class Rollout(Record, frozen=True, kw_only=True):
    """One selection with the answer that the reader gave from it.

    `status` is the parser's word for the reply (see `core.identifiers`); `raw` is the reply itself (None for a selector that is
    not a model). `answer` is None when there is none: the reply or the reader failed, and `error` says why. `n_unseen` candidates
    and `n_unread` chosen passages, from the end, did not fit into the prompts; `cut` says that a passage was shortened.
    `stop_probs`, of a constrained reply, are the probabilities of stopping before the first and after each identifier.

    Where the candidates were too many for one window: `n_calls` prompts of the reranker, `n_fallbacks` of them with a reply that
    named nothing, and `window`, the candidates in the last prompt, whose identifiers `raw` holds.
    """

    selection: list[str]
    status: str
    raw: str | None = None
    answer: str | None = None
    error: str | None = None
    n_reader_tokens: int | None = None
    n_unseen: int = 0
    n_unread: int = 0
    cut: bool = False
    n_calls: int | None = None
    n_fallbacks: int = 0
    window: list[str] | None = None
    stop_probs: list[Unit] | None = None


def _rollout_rules(rollouts: list[Rollout], docs: list[Candidate], field: str) -> Iterator[tuple[str, str]]:
    known = {doc.id for doc in docs}
    for number, rollout in enumerate(rollouts):
        strange = [name for name in rollout.selection if name not in known]
        if strange or len(set(rollout.selection)) != len(rollout.selection):
            yield field, f"rollout {number} selects a passage twice or one that is not a candidate: {strange}"


class SampledQuestion(RetrievedQuestion, frozen=True, kw_only=True):
    """A retrieved question with rollouts of one policy."""

    rollouts: list[Rollout]

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        """Also a rollout that selects what is no candidate."""
        yield from super().broken_rules()
        yield from _rollout_rules(self.rollouts, self.docs, "rollouts")


class Reward(Record, frozen=True, kw_only=True):
    """The reward of one rollout; a term that failed is None, and so is the total if that term has a weight."""

    total: float | None
    terms: dict[str, float | None]


class RewardedQuestion(SampledQuestion, frozen=True, kw_only=True):
    """A sampled question with one reward per rollout."""

    rewards: list[Reward]

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        """Also not one reward per rollout, or a total that is no number."""
        yield from super().broken_rules()
        if len(self.rewards) != len(self.rollouts):
            yield "rewards", f"{len(self.rewards)} rewards for {len(self.rollouts)} rollouts"
        if any(r.total is not None and not math.isfinite(r.total) for r in self.rewards):
            yield "rewards", "a reward total is not finite"


class ChatExample(Record, frozen=True, kw_only=True):
    """One supervised example: the model is taught to say `assistant`.

    `role` is `reranker` or `generator`; `lesson` is the place in the curriculum: lower ones are trained on first.
    """

    id: Text
    role: str
    lesson: int = 0
    system: str
    user: str
    assistant: str


class PreferencePair(Record, frozen=True, kw_only=True):
    """One preference: `chosen` is better than `rejected` by `margin` of reward. `role` is `reranker` or `generator`."""

    id: Text
    role: str
    system: str
    user: str
    chosen: str
    rejected: str
    margin: float

    def __post_init__(self) -> None:
        self._check()

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        """A pair of equal texts prefers nothing."""
        if self.chosen == self.rejected:
            yield "rejected", "chosen and rejected are equal"


class Prediction(RetrievedQuestion, frozen=True, kw_only=True):
    """What `infer` made of a question: the selection and the answer of one selector with one reader."""

    rollout: Rollout
    selector: str

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        """Also a selection of what is no candidate."""
        yield from super().broken_rules()
        yield from _rollout_rules([self.rollout], self.docs, "rollout")


class QuestionScores(Record, frozen=True, kw_only=True):
    """Per-question scores of one system, each in [0, 1]: what `drag eval --scores` writes."""

    id: Text
    system: str
    dataset: str
    scores: dict[str, Unit]


class Reject(Record, frozen=True, kw_only=True):
    """A record that a stage could not use: where it stood, and why."""

    line: int
    id: str | None
    reason: str
    record: str | None = None


KINDS: dict[str, type[Record]] = {
    kind.__name__: kind
    for kind in (
        Passage,
        Question,
        RetrievedQuestion,
        LabelledQuestion,
        SampledQuestion,
        RewardedQuestion,
        ChatExample,
        PreferencePair,
        Prediction,
        QuestionScores,
        Reject,
    )
}


def field_names(kind: type[Record]) -> tuple[str, ...]:
    """The field names of a record type, in file order."""
    return tuple(kind.__struct_fields__)


def extend(record: Record, kind: type[Record], **added: object) -> Any:
    """The record as `kind`, with the shared fields kept and `added` set."""
    names = set(field_names(kind))
    kept = {name: getattr(record, name) for name in field_names(type(record)) if name in names}
    return kind(**{**kept, **added})
