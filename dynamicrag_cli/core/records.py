"""The records of the pipeline, in its order. `docs/formats.md` shows one of each.

Files store passage ids. A bracketed identifier (`[3]`) is 1 + the position of a passage in one rendered prompt and never leaves
that prompt. A stage adds fields and never renames one; an `id` never changes; scores inside are in [0, 1] except for the raw
retrieval score.
"""

import math
from typing import Annotated, Any, Literal

import msgspec

from dynamicrag_cli.core.tasks import TASKS

SCHEMA_VERSION = 1

Text = Annotated[str, msgspec.Meta(min_length=1)]
Unit = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all records: frozen, strict, optional fields left out of the file when they are not set."""


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
        if not self.question.strip():
            raise ValueError("the question is empty")
        if self.dataset not in TASKS:
            raise ValueError(f"unknown dataset {self.dataset!r}; known: {', '.join(sorted(TASKS))} - at `$.dataset`")


class Relevance(Record, frozen=True, kw_only=True):
    """A teacher's relevance of every candidate: `scores` in [0, 1], shape (n_docs,), in the order of `docs`.

    `threshold` is the teacher's recommended cut (None for a teacher whose scores only rank).
    """

    teacher: str
    model: str | None
    scores: list[Unit]
    threshold: float | None = None


class RetrievedQuestion(Question, frozen=True, kw_only=True):
    """A question with its candidates, in retrieval order; every later record may carry a teacher's relevance."""

    docs: list[Candidate]
    relevance: Relevance | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({doc.id for doc in self.docs}) != len(self.docs):
            raise ValueError("a passage id stands twice among the candidates")
        if self.relevance is not None and len(self.relevance.scores) != len(self.docs):
            raise ValueError(f"relevance has {len(self.relevance.scores)} scores for {len(self.docs)} candidates")


class LabelledQuestion(RetrievedQuestion, frozen=True, kw_only=True):
    """A retrieved question with a teacher's relevance."""

    relevance: Relevance


class Rollout(Record, frozen=True, kw_only=True):
    """One selection with the answer that the reader gave from it.

    `status` is the parser's word for the reply (see `core.identifiers`); `raw` is the reply itself (None for a selector that is
    not a model). `answer` is None when there is none: the reply or the reader failed, and `error` says why.
    """

    selection: list[str]
    status: str
    raw: str | None = None
    answer: str | None = None
    error: str | None = None
    n_reader_tokens: int | None = None


def _check_rollouts(rollouts: list[Rollout], docs: list[Candidate]) -> None:
    known = {doc.id for doc in docs}
    for number, rollout in enumerate(rollouts):
        strange = [name for name in rollout.selection if name not in known]
        if strange or len(set(rollout.selection)) != len(rollout.selection):
            raise ValueError(f"rollout {number} selects a passage twice or one that is not a candidate: {strange}")


class SampledQuestion(RetrievedQuestion, frozen=True, kw_only=True):
    """A retrieved question with rollouts of one policy."""

    rollouts: list[Rollout]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rollouts(self.rollouts, self.docs)


class Reward(Record, frozen=True, kw_only=True):
    """The reward of one rollout; a term that failed is None, and so is the total if that term has a weight."""

    total: float | None
    terms: dict[str, float | None]


class RewardedQuestion(SampledQuestion, frozen=True, kw_only=True):
    """A sampled question with one reward per rollout."""

    rewards: list[Reward]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.rewards) != len(self.rollouts):
            raise ValueError(f"{len(self.rewards)} rewards for {len(self.rollouts)} rollouts")
        if any(r.total is not None and not math.isfinite(r.total) for r in self.rewards):
            raise ValueError("a reward total is not finite")


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
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are equal")


class Prediction(RetrievedQuestion, frozen=True, kw_only=True):
    """What `infer` made of a question: the selection and the answer of one selector with one reader."""

    rollout: Rollout
    selector: str

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rollouts([self.rollout], self.docs)


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
