"""`rerank-teacher`: candidates in, candidates with a teacher's relevance out."""

from collections.abc import Callable, Sequence

from dynamicrag_cli.core.engine import Teacher
from dynamicrag_cli.core.errors import EngineError
from dynamicrag_cli.core.records import LabelledQuestion, Relevance, RetrievedQuestion, extend
from dynamicrag_cli.stages.outcome import Outcome

Pair = tuple[str, str, str]


def pairs_of(record: RetrievedQuestion) -> list[Pair]:
    """(question, title, text) of every candidate."""
    return [(record.question, doc.title, doc.text) for doc in record.docs]


def label_with_teacher(
    records: Sequence[RetrievedQuestion], teacher: Teacher, name: str, model: str | None, threshold: float | None
) -> list[Outcome]:
    """Score all candidates of all records in one call of the teacher; a record with an unusable score comes back as the error."""
    pairs = [pair for record in records for pair in pairs_of(record)]
    values = teacher.relevance(pairs)
    if len(values) != len(pairs):
        raise EngineError(f"the teacher {name!r} gave {len(values)} scores for {len(pairs)} passages")
    scores = iter(values)
    return [_scored(record, name, model, threshold, [next(scores) for _ in record.docs]) for record in records]


def _scored(record: RetrievedQuestion, name: str, model: str | None, threshold: float | None, scores: list[float]) -> Outcome:
    if not all(0 <= score <= 1 for score in scores):
        return ValueError(f"the teacher gave a score outside [0, 1]: {scores}")
    return _labelled(record, name, model, threshold, scores)


def label_by_rule(
    records: Sequence[RetrievedQuestion], rule: Callable[[RetrievedQuestion], list[float]], name: str, threshold: float
) -> list[Outcome]:
    """Relevance from gold ids or answers; a record that lacks them comes back as the error."""
    made: list[Outcome] = []
    for record in records:
        try:
            made.append(_labelled(record, name, None, threshold, rule(record)))
        except ValueError as error:
            made.append(error)
    return made


def _labelled(
    record: RetrievedQuestion, name: str, model: str | None, threshold: float | None, scores: list[float]
) -> LabelledQuestion:
    relevance = Relevance(teacher=name, model=model, scores=scores, threshold=threshold)
    return extend(record, LabelledQuestion, relevance=relevance)  # type: ignore[no-any-return]
