"""BM25 by bm25s: memory-mapped, batched, the same tokenisation for passages and questions."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer

from dynamicrag_cli.adapters.retrievers.store import PassageStore, text_of
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.expansion import for_words

K1, B = 0.9, 0.4
_CHUNK = 4096
_TOKENS = "tokens.partial"


class Bm25Index:
    """An opened BM25 index over a passage store.

    Words are lower-case and of two characters or more. `settings` are those that the index was built with: `stemmer` (english:
    Snowball, or none) and `stopwords` (english, which are dropped, or none).
    """

    def __init__(self, folder: Path, store: PassageStore, settings: dict[str, Any]) -> None:
        self.store = store
        self.tokenizer = _tokenizer(settings)
        try:
            self.index = bm25s.BM25.load(str(folder / "bm25"), mmap=True, load_vocab=True)
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: the BM25 index is missing or damaged ({error}); build it again") from error

    @staticmethod
    def build(folder: Path, store: PassageStore, settings: dict[str, Any]) -> Iterator[int]:
        """Index all passages of a store; yields the number done.

        Neither texts nor words are held: the numbers of the words, 4 bytes each, are in a file until the matrix is made, which
        takes 20 bytes per different word of a passage.
        """
        tokenizer = _tokenizer(settings)
        numbered = tokenizer.streaming_tokenize(map(text_of, store), update_vocab=True, allow_empty=False)
        lengths: list[np.ndarray] = []
        done = 0
        with (folder / _TOKENS).open("wb") as file:
            while chunk := list(islice(numbered, _CHUNK)):
                np.fromiter((word for passage in chunk for word in passage), dtype=np.int32).tofile(file)
                lengths.append(np.fromiter(map(len, chunk), dtype=np.int64))
                done += len(chunk)
                yield done
        if not tokenizer.get_vocab_dict():
            raise InputError("the corpus holds no word that can be indexed (only stop words or punctuation)")
        words = _Words(folder / _TOKENS, np.concatenate(lengths))
        # scipy puts the matrix together in linear time and little more than half the memory of bm25s's own sorting.
        index = bm25s.BM25(k1=K1, b=B, csc_backend="scipy")
        index.index(bm25s.tokenization.Tokenized(ids=words, vocab=tokenizer.get_vocab_dict()), show_progress=False)
        index.save(str(folder / "bm25"), show_progress=False)
        del words
        (folder / _TOKENS).unlink()

    def search(self, questions: Sequence[str], top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores, both of shape (n_questions, min(top_k, n_passages)), best first.

        A passage that shares no word with the question is no hit, whatever top-k is: its place has row -1 and score 0.
        """
        self.tokenizer.reset_vocab()
        words = self.tokenizer.tokenize(
            list(questions), return_as="string", update_vocab=True, allow_empty=False, show_progress=False
        )
        rows, scores = self.index.retrieve(words, k=min(top_k, len(self.store)), show_progress=False, sorted=True)
        return np.where(scores > 0, rows, -1), scores

    def expanded(self, question: str, passage: str) -> str:
        """The question five times and the passage, as Query2doc has it for BM25."""
        return for_words(question, passage)


class _Words:
    """The numbers of every passage's words, read from a file as often as bm25s goes over them."""

    def __init__(self, file: Path, lengths: np.ndarray) -> None:
        self.numbers = np.memmap(file, dtype=np.int32, mode="r")
        self.ends = np.cumsum(lengths)

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[list[int]]:
        start = 0
        for end in self.ends:
            yield self.numbers[start:end].tolist()
            start = end


def _tokenizer(settings: dict[str, Any]) -> Any:
    stemmer = Stemmer.Stemmer("english") if settings.get("stemmer", "english") == "english" else None
    return bm25s.tokenization.Tokenizer(
        stopwords="english" if settings.get("stopwords", "english") == "english" else None, stemmer=stemmer
    )
