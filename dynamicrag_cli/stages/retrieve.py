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
        """Rows and scores, both of shape (n_questions, k), best first."""
        ...


def retrieve(questions: Sequence[Question], indexes: Sequence[Index], top_k: int) -> list[RetrievedQuestion]:
    """The top-k candidates of every question; the lists of several indexes are fused by reciprocal rank.

    Each index gives its own top `top_k` to the fusion.
    """
    texts = [question.question for question in questions]
    found = [_candidates(index, texts, top_k) for index in indexes]
    merged = found[0] if len(found) == 1 else [_fuse(lists, top_k) for lists in zip(*found, strict=True)]
    return [extend(question, RetrievedQuestion, docs=docs) for question, docs in zip(questions, merged, strict=True)]


def _candidates(index: Index, texts: list[str], top_k: int) -> list[list[Candidate]]:
    rows, scores = index.search(texts, top_k)
    return [
        [
            Candidate(id=passage.id, title=passage.title, text=passage.text, score=float(score))
            for passage, score in zip(index.store.get([int(row) for row in row_list]), score_list, strict=True)
        ]
        for row_list, score_list in zip(rows, scores, strict=True)
    ]


def _fuse(lists: Sequence[list[Candidate]], top_k: int) -> list[Candidate]:
    by_id = {doc.id: doc for docs in lists for doc in docs}
    fused = reciprocal_rank_fusion([[doc.id for doc in docs] for docs in lists], top_k)
    return [Candidate(id=name, title=by_id[name].title, text=by_id[name].text, score=score) for name, score in fused]
