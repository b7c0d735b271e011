"""Relevance without a model: from gold passage ids or from answer strings."""

from collections.abc import Callable

from dynamicrag_cli.core.metrics import holds_answer
from dynamicrag_cli.core.records import RetrievedQuestion

THRESHOLD = 0.5


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
        ValueError: The question has no answers.
    """
    if not record.answers:
        raise ValueError("the question has no answers, which the teacher 'answer-match' needs")
    return [float(any(holds_answer(f"{doc.title} {doc.text}", answer) for answer in record.answers)) for doc in record.docs]


LABELLERS: dict[str, Callable[[RetrievedQuestion], list[float]]] = {
    "gold": gold_relevance,
    "answer-match": answer_match_relevance,
}
