"""BM25 by bm25s: memory-mapped, batched, the same tokenisation for passages and questions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer

from dynamicrag_cli.adapters.retrievers.store import PassageStore, text_of
from dynamicrag_cli.core.errors import InputError

K1, B = 0.9, 0.4


class Bm25Index:
    """An opened BM25 index over a passage store; English stop words are dropped and words stemmed (Snowball)."""

    def __init__(self, folder: Path, store: PassageStore, settings: dict[str, Any]) -> None:
        del settings
        self.store = store
        try:
            self.index = bm25s.BM25.load(str(folder / "bm25"), mmap=True, load_vocab=True)
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: the BM25 index is missing or damaged ({error}); build it again") from error

    @staticmethod
    def build(folder: Path, store: PassageStore, settings: dict[str, Any]) -> Iterator[int]:
        """Index all passages of a store; yields the number done."""
        del settings
        tokens = _tokenize([text_of(passage) for passage in store])
        if not tokens.vocab:
            raise InputError("the corpus holds no word that can be indexed (only stop words or punctuation)")
        index = bm25s.BM25(k1=K1, b=B)
        index.index(tokens, show_progress=False)
        index.save(str(folder / "bm25"))
        yield len(store)

    def search(self, questions: Sequence[str], top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores, both of shape (n_questions, min(top_k, n_passages)), best first."""
        tokens = _tokenize(list(questions))
        rows, scores = self.index.retrieve(tokens, k=min(top_k, len(self.store)), show_progress=False, sorted=True)
        return rows, scores


def _tokenize(texts: list[str]) -> Any:
    return bm25s.tokenize(texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False)
