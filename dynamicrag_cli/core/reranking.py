"""What a cross-encoder is taught from: a question's positive candidates and its hardest negative ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dynamicrag_cli.core.labels import LABELLERS
from dynamicrag_cli.core.records import Candidate, RetrievedQuestion

POSITIVE = 0.5


@dataclass(frozen=True)
class RankedExample:
    """A question with some of its candidates: texts and labels in [0, 1], shape (n,) each; positives are at least 0.5."""

    question: str
    passages: tuple[str, ...]
    labels: tuple[float, ...]

    @property
    def n_positive(self) -> int:
        """How many passages are positive."""
        return sum(label >= POSITIVE for label in self.labels)


def passage_text(doc: Candidate) -> str:
    """A passage as every cross-encoder here reads it."""
    return f"{doc.title} {doc.text}".strip()


def _teacher(record: RetrievedQuestion) -> list[float]:
    if record.relevance is None:
        raise ValueError("the question has no relevance, which drag rerank-teacher adds")
    return list(record.relevance.scores)


LABELS: dict[str, Callable[[RetrievedQuestion], list[float]]] = {"relevance": _teacher, **LABELLERS}


def kept_positions(labels: Sequence[float], n_negatives: int) -> tuple[int, ...]:
    """All positives, and the first `n_negatives` others in retrieval order: those that the retriever took for good."""
    negatives = [position for position, label in enumerate(labels) if label < POSITIVE][:n_negatives]
    return tuple(sorted([position for position, label in enumerate(labels) if label >= POSITIVE] + negatives))


def ranked_example(record: RetrievedQuestion, labels: str, n_negatives: int) -> RankedExample:
    """The example of a question; `labels` is a name in `LABELS`.

    Raises:
        ValueError: The question lacks what the labels are made of, or has no candidates.
    """
    if not record.docs:
        raise ValueError("the question has no candidates")
    values = LABELS[labels](record)
    places = kept_positions(values, n_negatives)
    return RankedExample(
        record.question, tuple(passage_text(record.docs[place]) for place in places), tuple(values[place] for place in places)
    )
