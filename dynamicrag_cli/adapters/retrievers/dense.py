"""Dense retrieval: a sentence-transformers or HF encoder and an exact inner-product FAISS index over unit vectors."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from dynamicrag_cli.adapters.encoder import encode, load_encoder
from dynamicrag_cli.adapters.files.embeddings import read_embeddings
from dynamicrag_cli.adapters.retrievers.store import PassageStore, text_of
from dynamicrag_cli.core.errors import InputError, UsageError

_CHUNK = 1024


class DenseIndex:
    """An opened dense index: exact search by cosine (inner product of unit vectors)."""

    def __init__(self, folder: Path, store: PassageStore, settings: dict[str, Any]) -> None:
        self.store = store
        try:
            self.index = faiss.read_index(str(folder / "dense.faiss"))
        except RuntimeError as error:
            raise InputError(f"{folder}: the FAISS index is missing or damaged; build it again") from error
        if self.index.ntotal != len(store):
            raise InputError(f"{folder}: {self.index.ntotal} vectors for {len(store)} passages; build the index again")
        self.encoder = load_encoder(settings["model"], settings.get("device"))
        width = self.encoder.get_embedding_dimension()
        if width != self.index.d:
            raise InputError(f"{folder}: built with {self.index.d} dimensions, but {settings['model']} gives {width}")
        self.batch_size = int(settings.get("batch_size") or 32)

    @staticmethod
    def build(folder: Path, store: PassageStore, settings: dict[str, Any]) -> Iterator[int]:
        """Encode all passages of a store, or take their vectors from files, and index them; yields the number done."""
        if not settings.get("model"):
            raise UsageError("--retriever dense needs --model, an encoder's folder or hub id")
        if settings.get("embeddings"):
            yield from _import(folder, store, settings["embeddings"])
            return
        encoder = load_encoder(settings["model"], settings.get("device"))
        index = faiss.IndexFlatIP(encoder.get_embedding_dimension())
        for start in range(0, len(store), _CHUNK):
            passages = store.get(range(start, min(start + _CHUNK, len(store))))
            index.add(encode(encoder, [text_of(passage) for passage in passages], int(settings.get("batch_size") or 32)))
            yield index.ntotal
        faiss.write_index(index, str(folder / "dense.faiss"))

    def search(self, questions: Sequence[str], top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and cosines, both of shape (n_questions, min(top_k, n_passages)), best first."""
        scores, rows = self.index.search(encode(self.encoder, list(questions), self.batch_size), min(top_k, len(self.store)))
        return rows, scores


def _import(folder: Path, store: PassageStore, files: Sequence[str]) -> Iterator[int]:
    """Index vectors as they are, not scaled to unit length: some encoders are trained for the inner product."""
    vectors = read_embeddings(files, [passage.id for passage in store])
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, str(folder / "dense.faiss"))
    yield index.ntotal
