"""A sentence encoder: texts in, unit vectors out. The dense retriever and the bi-encoder teacher share it."""

import numpy as np
from sentence_transformers import SentenceTransformer

from dynamicrag_cli.adapters.pretrained import load


def load_encoder(model: str, device: str | None = None) -> SentenceTransformer:
    """Load an encoder.

    Raises:
        InputError: There is no such model.
    """
    encoder: SentenceTransformer = load("encoder", model, SentenceTransformer, device=device)
    return encoder


def encode(encoder: SentenceTransformer, texts: list[str], batch_size: int) -> np.ndarray:
    """Unit vectors, float32, shape (n_texts, dimension); sentence-transformers batches by length."""
    vectors = encoder.encode(texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False)
    return np.ascontiguousarray(vectors, dtype=np.float32)
