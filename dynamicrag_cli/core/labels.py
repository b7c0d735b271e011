"""Relevance without a model: from gold passage ids or from answer strings."""

from collections.abc import Callable, Sequence

from dynamicrag_cli.core.metrics import holds_answer, normalize
from dynamicrag_cli.core.records import Candidate, Question, RetrievedQuestion
from dynamicrag_cli.core.tasks import task_of

THRESHOLD = 0.5
_NO_SPAN = frozenset({"yes", "no", "true", "false", "unknown"})


def short_answers(question: Question) -> list[str]:
    """The answer strings that may occur in a passage: none for labels, long answers, yes/no and unknown."""
    field = task_of(question.dataset).short_answers
    if field is None:
        return []
    pairs = question.meta.get("qa_pairs") or []
    strings = question.answers if field == "answers" else [a for pair in pairs for a in pair.get("short_answers", [])]
    return [answer for answer in strings if normalize(answer) and normalize(answer) not in _NO_SPAN]


def references(question: Question) -> list[str]:
    """The texts that a good answer is like: the long answers where there are some, else the answers, else all short ones."""
    long_answers = [str(answer) for answer in question.meta.get("long_answers") or []]
    return long_answers or question.answers or short_answers(question)


def has_answer(doc: Candidate, answers: list[str]) -> bool:
    """Whether title or text hold one of the answers as a token sequence."""
    return any(holds_answer(f"{doc.title} {doc.text}", answer) for answer in answers)


def may_hold_evidence(question: Question, docs: Sequence[Candidate]) -> bool:
    """Whether the gold answer can follow from these passages.

    So it is where one of them is gold or holds an answer string, where none is needed, and where nobody knows.
    """
    gold, answers = question.gold_passage_ids, short_answers(question)
    if gold == [] or (gold is None and not answers):
        return True
    return any(doc.id in (gold or ()) or has_answer(doc, answers) for doc in docs)


def gold_relevance(record: RetrievedQuestion) -> list[float]:
    """1 for the gold passages, else 0; shape (n_docs,).

    Raises:
        ValueError: The question has no gold_passage_ids.
    """
    if record.gold_passage_ids is None:
        raise ValueError("the question has no gold_passage_ids, which the teacher 'gold' needs")
    gold = set(record.gold_passage_ids)
    return [float(doc.id in gold) for doc in record.docs]


def answer_match_relevance(record: RetrievedQuestion) -> list[float]:
    """1 for passages that hold an answer as a token sequence, else 0 (a weak label); shape (n_docs,).

    Raises:
        ValueError: The question has no answer that could stand in a passage.
    """
    answers = short_answers(record)
    if not answers:
        raise ValueError("the question has no short answers, which the teacher 'answer-match' needs")
    return [float(has_answer(doc, answers)) for doc in record.docs]


LABELLERS: dict[str, Callable[[RetrievedQuestion], list[float]]] = {
    "gold": gold_relevance,
    "answer-match": answer_match_relevance,
}
