"""A sentence encoder: texts in, vectors out. The dense retriever and the bi-encoder teacher share it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.util import is_sentence_transformer_model

from dynamicrag_cli.adapters.pretrained import load
from dynamicrag_cli.core.encoders import Encoding


def load_encoder(model: str, device: str | None = None, pooling: str | None = None) -> SentenceTransformer:
    """Load an encoder; `pooling` replaces that of its folder, or the mean where the folder says nothing.

    Raises:
        InputError: There is no such model.
    """
    encoder: SentenceTransformer = load("encoder", model, SentenceTransformer, device=device)
    for name, module in encoder.named_children() if pooling else ():
        if isinstance(module, Pooling):
            setattr(encoder, name, Pooling(module.embedding_dimension, pooling_mode=pooling).to(encoder.device))
    return encoder


def encode(
    encoder: SentenceTransformer, texts: list[str], batch_size: int, *, prefix: str = "", unit: bool = True, pool: Any = None
) -> np.ndarray:
    """Vectors, float32, shape (n_texts, dimension); sentence-transformers batches by length.

    Args:
        encoder: The model.
        texts: What to encode.
        batch_size: Texts in a batch.
        prefix: Stands before every text.
        unit: Scale vectors to unit length.
        pool: Processes of `encoder_pool` that do the work.
    """
    options = {"batch_size": batch_size, "normalize_embeddings": unit, "show_progress_bar": False}
    return np.ascontiguousarray(encoder.encode(texts, prompt=prefix, pool=pool, **options), dtype=np.float32)


def brings_pooling(model: str) -> bool:
    """Whether a model's folder or repository says how to pool, as those of sentence-transformers do."""
    return (Path(model) / "modules.json").is_file() if Path(model).exists() else is_sentence_transformer_model(model)


def completed(encoder: SentenceTransformer, encoding: Encoding) -> Encoding:
    """The encoding with its gaps filled from the model's folder: its prompts, and cosine."""
    own = encoder.prompts or {}
    query, passage = (own.get(name) or "" for name in ("query", "document"))
    return Encoding(
        pooling=encoding.pooling,
        query_prefix=query if encoding.query_prefix is None else encoding.query_prefix,
        passage_prefix=passage if encoding.passage_prefix is None else encoding.passage_prefix,
        metric=encoding.metric or "cosine",
    )


@contextmanager
def encoder_pool(encoder: SentenceTransformer, devices: Sequence[str]) -> Iterator[Any]:
    """One process on each of several devices (several GPUs are untested), or None for a single one."""
    if len(devices) < 2:
        yield None
        return
    pool = encoder.start_multi_process_pool(list(devices))
    try:
        yield pool
    finally:
        encoder.stop_multi_process_pool(pool)
