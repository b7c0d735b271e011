"""`retrieve`: questions in, candidates out."""

from collections.abc import Sequence
from typing import Any, Protocol

from dynamicrag_cli.core.fusion import reciprocal_rank_fusion
from dynamicrag_cli.core.records import Candidate, Passage, Question, RetrievedQuestion, extend


class Store(Protocol):
    """Passages by row."""

    def get(self, rows: Sequence[int]) -> list[Passage]:
        """The passages of some rows, in order."""
        ...


class Index(Protocol):
    """A searchable index over a passage store."""

    store: Store

    def search(self, questions: Sequence[str], top_k: int) -> tuple[Any, Any]:
        """Rows and scores, both of shape (n_questions, k), best first; a row of -1 is a place for which nothing was found."""
        ...

    def expanded(self, question: str, passage: str) -> str:
        """What is searched for a question for which a passage was written (Query2doc)."""
        ...


def retrieve(
    questions: Sequence[Question], indexes: Sequence[Index], top_k: int, passages: Sequence[str] | None = None
) -> list[RetrievedQuestion]:
    """The top-k candidates of every question, fewer where fewer were found; the lists of several indexes are fused by rank.

    Each index gives its own top `top_k` to the fusion. With `passages`, one per question, the questions are expanded by them.
    """
    texts = [question.question for question in questions]
    found = []
    for index in indexes:
        searched = texts if passages is None else [index.expanded(*pair) for pair in zip(texts, passages, strict=True)]
        found.append(_candidates(index, searched, top_k))
    merged = found[0] if len(found) == 1 else [_fuse(lists, top_k) for lists in zip(*found, strict=True)]
    return [extend(question, RetrievedQuestion, docs=docs) for question, docs in zip(questions, merged, strict=True)]


def _candidates(index: Index, texts: list[str], top_k: int) -> list[list[Candidate]]:
    return [_hits(index.store, *found) for found in zip(*index.search(texts, top_k), strict=True)]


def _hits(store: Store, rows: Any, scores: Any) -> list[Candidate]:
    found = [(int(row), float(score)) for row, score in zip(rows, scores, strict=True) if row >= 0]
    return [
        Candidate(id=passage.id, title=passage.title, text=passage.text, score=score)
        for passage, (_, score) in zip(store.get([row for row, _ in found]), found, strict=True)
    ]


def _fuse(lists: Sequence[list[Candidate]], top_k: int) -> list[Candidate]:
    by_id = {doc.id: doc for docs in lists for doc in docs}
    fused = reciprocal_rank_fusion([[doc.id for doc in docs] for docs in lists], top_k)
    return [Candidate(id=name, title=by_id[name].title, text=by_id[name].text, score=score) for name, score in fused]
