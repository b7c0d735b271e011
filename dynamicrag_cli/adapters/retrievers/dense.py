"""Dense retrieval: a sentence-transformers or HF encoder, its vectors as shards, and a FAISS index over them."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dynamicrag_cli.adapters.encoder import brings_pooling, completed, encode, encoder_pool, load_encoder
from dynamicrag_cli.adapters.files.embeddings import read_embeddings
from dynamicrag_cli.adapters.files.manifest import differences, identity, read_manifest
from dynamicrag_cli.adapters.machine import memory
from dynamicrag_cli.adapters.pretrained import check_folder
from dynamicrag_cli.adapters.retrievers import ann
from dynamicrag_cli.adapters.retrievers.store import PassageStore, text_of
from dynamicrag_cli.adapters.retrievers.vectors import ShardWriter, Vectors, in_shards
from dynamicrag_cli.core.encoders import Encoding, encoding_of
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.expansion import for_encoder
from dynamicrag_cli.core.presets import PRESETS

# Passages that are encoded at a time on one device: enough to batch by length, few enough to show progress.
_CHUNK = 1024
_BATCH = 32


class DenseIndex:
    """An opened dense index.

    Attributes:
        model: The encoder: a folder, or a hub's id.

    Raises:
        InputError: A file of it is missing or damaged, or the encoder that it was built with is not found.
    """

    def __init__(self, folder: Path, store: PassageStore, settings: dict[str, Any]) -> None:
        if "encoding" not in settings:
            raise InputError(f"{folder}: built by an earlier version; build the index again")
        self.folder, self.store, self.settings, self.notes = folder, store, settings, list[str]()
        self.vectors = Vectors(folder)
        if len(self.vectors) != len(store):
            raise InputError(f"{folder}: {len(self.vectors)} vectors for {len(store)} passages; build the index again")
        self.refine = int(settings.get("refine") or settings["search"]["refine"])
        self.index = self._open()
        self.exact = self._divided(settings["together"]) if settings.get("together") else partial(ann.exact, self.vectors)
        self.model = self._found()
        self.encoding = Encoding(**settings["encoding"])
        self.encoder = load_encoder(self.model, settings.get("device"), self.encoding.pooling)
        width = self.encoder.get_embedding_dimension()
        if width != self.vectors.dimension:
            raise InputError(f"{folder}: built with {self.vectors.dimension} dimensions, but {self.model} gives {width}")
        self.batch_size = int(settings.get("batch_size") or _BATCH)

    def _found(self) -> str:
        """Where the encoder lies: the first folder of `encoders` that holds what the index was built with, else where it lay.

        A hub's model was recorded by its id; a folder is taken for it by the last part of the id.
        """
        model, content = self.settings["model"], self.settings["model_content"]
        others = [str(folder) for folder in self.settings.get("encoders") or []]
        for folder in others:
            if identity(folder) == content:
                return folder
            if content == model and Path(folder).is_dir() and Path(folder).name == Path(model).name:
                self.notes.append(f"encoded by {folder}, taken for {model} by its name")
                return folder
        if identity(model) == content:
            return str(model)
        there = ", ".join(f"{place} {'differs' if Path(place).exists() else 'is not there'}" for place in [*others, model])
        raise InputError(
            f"{self.folder}: the encoder that it was built with was not found ({there}); say where a copy lies with "
            "--encoder DIR, or build the index again"
        )

    def _open(self) -> Any | None:
        """The FAISS index, or None where the shards are to be read instead."""
        settings = self.settings
        asked = {name: settings[name] for name in ("nprobe", "efSearch") if settings.get(name)}
        if settings.get("scan") or not settings["factory"]:
            if asked:
                raise UsageError(f"reading all shards is exact and has no {', '.join(asked)}")
            return None
        index = ann.open_faiss(self.folder)
        if (index.ntotal, index.d) != (len(self.vectors), self.vectors.dimension):
            raise InputError(
                f"{self.folder / ann.FILE}: {index.ntotal} vectors of {index.d} dimensions, but the shards hold "
                f"{len(self.vectors)} of {self.vectors.dimension}; build the index again"
            )
        limits = ann.default_search(index)
        if not limits and settings["bytes"] > max(memory()[1], self.vectors.nbytes):
            self.notes.append("larger than the memory that is free, so its float16 shards are read instead (exact)")
            return None
        ann.set_search(index, {**{name: settings["search"][name] for name in limits if name in settings["search"]}, **asked})
        self.settings = {**settings, "search": {**settings["search"], **asked, "refine": self.refine}}
        if str(settings.get("device") or "").startswith("cuda"):
            moved = ann.to_gpus(index)
            if moved is not None:
                return moved
            self.notes.append("no faiss-gpu here, or no form of this index for GPUs: it is searched on the CPU")
        return index

    def _divided(self, together: Callable[..., Any]) -> Callable[[np.ndarray, int], ann.Found]:
        """Exact search by workers, each over its share of the shards."""
        asked = together(partial(ann.exact_share, self.folder))
        self.notes.append("divided among the workers")
        return lambda queries, k: ann.merged((found for (found,) in asked([(queries, k)])), len(queries), k)

    def summary(self) -> str:
        """What is searched and how well, in one line."""
        kept = self.settings
        size = f"{len(self.vectors)} x {self.vectors.dimension}"
        if self.index is None:
            parts = [f"dense {size}, exact: {len(self.vectors.parts)} shard(s) read, {self.vectors.nbytes / 1e6:.1f} MB"]
        else:
            how = ", ".join(f"{name} {value}" for name, value in kept["search"].items())
            parts = [f"dense {size}, {kept['factory']}, {kept['bytes'] / 1e6:.1f} MB, {how}"]
            if kept["recall_at_10"] is not None:
                built = "as built, " if kept["search"] != kept["measured_with"] else ""
                parts.append(f"recall@10 {kept['recall_at_10']:.3f} of exact search ({built}{kept['recall_queries']} queries)")
        return "; ".join([*parts, *self.notes])

    @staticmethod
    def build(folder: Path, store: PassageStore, settings: dict[str, Any]) -> Generator[int, None, dict[str, Any]]:
        """Encode all passages of a store, or take their vectors from files, and index them.

        Yields the number of passages that are encoded; returns what the manifest keeps.
        """
        model = settings.get("model")
        if not model:
            raise UsageError("--retriever dense needs --model, an encoder's folder or hub id")
        chosen = Encoding(**{name: settings.get(name) for name in ("pooling", "query_prefix", "passage_prefix", "metric")})
        family, encoding = encoding_of(model, chosen)
        check_folder("encoder", model)
        if not chosen.pooling and brings_pooling(model):
            encoding = replace(encoding, pooling=None)
        # Where workers encode, this machine may have no such device.
        encoder = load_encoder(model, "cpu" if settings.get("spread") else _devices(settings)[0], encoding.pooling)
        encoding = completed(encoder, encoding)
        key = {"passages": len(store), "model": identity(model), "input": settings.get("input"), "encoding": vars(encoding)}
        files: list[str] = list(settings.get("embeddings") or ())
        key["embeddings"] = [identity(file) for file in files]
        writer = ShardWriter(folder, key)
        if writer.done == len(store):
            yield writer.done
        elif len(files) == 1 and Path(files[0]).is_dir():
            yield from _adopted(Path(files[0]), key, writer)
        elif files:
            yield from _imported(files, store, writer)
        else:
            yield writer.done
            rest = range(writer.done, len(store), _CHUNK * len(_devices(settings)))
            spans = (range(start, min(start + rest.step, len(store))) for start in rest)
            if settings.get("spread"):
                yield from in_shards(_encoded_elsewhere(folder, spans, encoding, settings), writer)
            else:
                yield from in_shards(_encoded(encoder, store, spans, encoding, settings), writer)
        vectors, width = Vectors(folder), encoder.get_embedding_dimension()
        if vectors.dimension != width:
            raise InputError(f"the vectors of {files[0]} have {vectors.dimension} dimensions, but {model} gives {width}")
        facts = yield from _indexed(folder, vectors, settings)
        return {"family": family, "encoding": vars(encoding), "model_content": key["model"], **facts}

    def search(self, questions: Sequence[str], top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores (cosines or inner products), both of shape (n_questions, min(top_k, n_passages)), best first."""
        queries = encode(
            self.encoder,
            list(questions),
            self.batch_size,
            prefix=self.encoding.query_prefix or "",
            unit=self.encoding.metric == "cosine",
        )
        k = min(top_k, len(self.store))
        if self.index is None:
            return self.exact(queries, k)
        return ann.search(self.vectors, self.index, queries, k, self.refine)

    def expanded(self, question: str, passage: str) -> str:
        """The question, the encoder's separator token and the passage, as Query2doc has it for encoders."""
        return for_encoder(question, passage, self.encoder.tokenizer.sep_token or "\n")


def _devices(settings: dict[str, Any]) -> list[str | None]:
    """`cuda:0,cuda:1` as a list; [None]: chosen by itself."""
    return list((settings.get("device") or "").split(",")) if settings.get("device") else [None]


def _encoded(
    encoder: Any, store: PassageStore, spans: Iterable[range], encoding: Encoding, settings: dict[str, Any]
) -> Iterator[np.ndarray]:
    """The vectors of some ranges of rows."""
    with encoder_pool(encoder, [device for device in _devices(settings) if device]) as pool:
        for span in spans:
            yield encode(
                encoder,
                [text_of(passage) for passage in store.get(span)],
                int(settings.get("batch_size") or _BATCH),
                prefix=encoding.passage_prefix or "",
                unit=encoding.metric == "cosine",
                pool=pool,
            )


def _encoded_elsewhere(
    folder: Path, spans: Iterable[range], encoding: Encoding, settings: dict[str, Any]
) -> Iterator[np.ndarray]:
    """The same by workers, each with its own encoder."""
    sent = {name: settings.get(name) for name in ("model", "device", "batch_size")}
    with settings["spread"](partial(_worker, folder, encoding, sent)) as apply:
        for (vectors,) in apply([span] for span in spans):
            yield vectors


def _worker(folder: Path, encoding: Encoding, settings: dict[str, Any]) -> Callable[[list[range]], list[np.ndarray]]:
    store, encoder = PassageStore(folder), load_encoder(settings["model"], settings["device"], encoding.pooling)
    return lambda spans: list(_encoded(encoder, store, spans, encoding, settings))


def _imported(files: Sequence[str], store: PassageStore, writer: ShardWriter) -> Iterator[int]:
    """Vectors as they are in files, not scaled to unit length: some encoders are trained for the inner product."""
    gathered = writer.folder / "imported.tmp"
    vectors = read_embeddings(files, lambda: (passage.id for passage in store), gathered)
    yield from in_shards((vectors[row : row + _CHUNK] for row in range(writer.done, len(store), _CHUNK)), writer)
    gathered.unlink()


def _adopted(other: Path, key: dict[str, Any], writer: ShardWriter) -> Iterator[int]:
    """The vectors of another index of the same corpus by the same encoder."""
    manifest = read_manifest(other)
    theirs = {
        "encoding": manifest.get("settings", {}).get("encoding"),
        "input": manifest.get("fingerprint", {}).get("input"),
        "model": manifest.get("settings", {}).get("model_content"),
    }
    changed = differences(theirs, {name: key[name] for name in theirs})
    if changed:
        raise InputError(f"{other} is no index of this corpus by this encoder ({'; '.join(changed)}); leave --embeddings out")
    yield from in_shards((block for start, block in Vectors(other).blocks() if start >= writer.done), writer)


def _indexed(folder: Path, vectors: Vectors, settings: dict[str, Any]) -> Generator[int, None, dict[str, Any]]:
    """Build the FAISS index over finished shards and measure it; returns what the manifest keeps."""
    n, width = len(vectors), vectors.dimension
    preset = None if settings.get("factory") else PRESETS[settings.get("preset") or "flat"]
    factory = preset.factory(n, width) if preset else settings["factory"]
    facts: dict[str, Any] = {"dimension": width, "factory": factory, "search": {"refine": 1}, "bytes": 0}
    if not factory:
        return {**facts, "measured_with": facts["search"], "recall_at_10": 1.0, "recall_queries": 0}
    if preset and preset.size(n, width) > memory()[1] > 0:
        raise UsageError(
            f"this index takes {preset.size(n, width) / 1e9:.1f} GB of memory while it is built, and {memory()[1] / 1e9:.1f} GB "
            "are free; the vectors are kept, so repeat the command with another --preset (drag plan), or --preset scan for none"
        )
    for _ in ann.build(folder, vectors, factory):
        yield n
    index = ann.open_faiss(folder)
    limits = ann.default_search(index)
    asked = {name: settings[name] for name in ("nprobe", "efSearch") if settings.get(name)}
    facts["search"] = {**limits, **asked, "refine": settings.get("refine") or (preset.refine if preset else 1)}
    ann.set_search(index, {**limits, **asked})
    facts["bytes"] = (folder / ann.FILE).stat().st_size
    return {**facts, "measured_with": facts["search"], **ann.recall(vectors, index, facts["search"]["refine"])}
