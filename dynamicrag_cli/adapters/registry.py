"""Lazy tables of everything that needs an optional dependency: name -> where it is, and the extra that brings its libraries.

Adding an engine, a retriever or a teacher is one file and one line here.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from dynamicrag_cli.core.errors import MissingExtraError, unknown_name


@dataclass(frozen=True)
class Entry:
    """Where an adapter is (`module:Class` below this package), the extra it needs, and one line for `--help`."""

    place: str
    extra: str
    summary: str


ENGINES = {
    "hf": Entry("engines.hf:HfEngine", "local", "transformers, batched, on CPU or CUDA"),
    "vllm": Entry("engines.vllm:VllmEngine", "vllm", "vLLM in this process, on GPUs (untested there) or a CPU"),
    "openai": Entry("engines.openai:OpenAiEngine", "openai", "any OpenAI-compatible endpoint"),
    "fake": Entry("engines.fake:FakeEngine", "", "scripted replies, for tests"),
}
RETRIEVERS = {
    "bm25": Entry("retrievers.bm25:Bm25Index", "retrieval", "BM25 by bm25s"),
    "dense": Entry("retrievers.dense:DenseIndex", "retrieval", "an encoder and a FAISS index"),
}
TEACHERS = {
    "monot5": Entry("teachers.monot5:MonoT5", "local", "true/false logits of a T5 (untested on real weights)"),
    "cross-encoder": Entry("teachers.cross_encoder:CrossEncoderTeacher", "local", "sigmoid of its logit"),
    "bi-encoder": Entry("teachers.bi_encoder:BiEncoder", "local", "logistic fit of the cosine on train questions with gold ids"),
    "llm": Entry("teachers.llm:LlmTeacher", "local", "yes/no logits of a causal LM, through an engine"),
}
RUNNERS = {
    "ray": Entry("ray_workers:RayWorkers", "ray", "worker processes of a Ray cluster (untested on GPUs and on several machines)"),
}


def load(kind: str, name: str, table: dict[str, Entry]) -> Any:
    """Import and return the class of a name.

    Raises:
        UsageError: No such name.
        MissingExtraError: Its libraries are not installed or fail to import.
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    entry = table[name]
    module, _, attribute = entry.place.partition(":")
    try:
        return getattr(import_module(f"dynamicrag_cli.adapters.{module}"), attribute)
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingExtraError(f"{kind} '{name}'", entry.extra, error) from error


def describe(table: dict[str, Entry]) -> str:
    """The table as text for `--help`."""
    return "; ".join(f"{name}: {entry.summary}" for name, entry in table.items())
