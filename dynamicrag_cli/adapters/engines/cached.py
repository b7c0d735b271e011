"""Greedy replies on the disk: what a model was once asked, it is not asked again, in any later run with the same file."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.adapters.files.manifest import identity
from dynamicrag_cli.core.engine import ChatRequest, Completion, Engine, SamplingOptions
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.grammar import ChoiceRules
from dynamicrag_cli.core.prompts import Chat

_DECODER = msgspec.msgpack.Decoder(Completion)
MEMORY = ":memory:"


# Counted up when engines begin to write the same chat as other tokens, or to tell more of a reply.
_WRITING = 2


def caller(engine: str, model: str, settings: EngineSettings) -> str:
    """What a reply depends on besides prompt and options: the model's content, how the engine runs it and writes prompts."""
    address = settings.base_url or (os.environ.get("OPENAI_BASE_URL") if engine == "openai" else None)
    return json.dumps(
        [engine, identity(model), settings.dtype, settings.device, settings.max_model_len, address, settings.revision, _WRITING]
    )


@dataclass
class Tally:
    """What a manifest tells of a stage's work, wherever that was done.

    Attributes:
        wanted: Greedy replies that were wanted of engines.
        known: How many of them the cache had.
        facts: What was found out while loading.
    """

    wanted: int = 0
    known: int = 0
    facts: dict[str, object] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        """Count what was counted elsewhere."""
        self.wanted += other.wanted
        self.known += other.known
        self.facts |= other.facts

    def counts(self) -> dict[str, int]:
        """Hits and misses for a manifest; nothing where nothing was wanted of a cache."""
        return {"cache_hits": self.known, "cache_misses": self.wanted - self.known} if self.wanted else {}


class ReplyCache:
    """A table in SQLite: hash of (caller, prompt, options) -> completion; processes of one or several machines may share it.

    It keeps SQLite's rollback journal: the faster write-ahead log needs memory that all processes share, which machines with one
    file system do not have, and a chunk of replies is one transaction in any case. It is never cleared: a reply takes some
    hundred bytes, and whoever wants the space deletes the file.

    Raises:
        InputError: The file cannot be used.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        try:
            if path != MEMORY:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self.base = sqlite3.connect(path, timeout=60)
            with self.base:
                self.base.execute("CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, reply BLOB NOT NULL) WITHOUT ROWID")
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> InputError:
        return InputError(f"cannot use the cache of replies {self.path}: {error}; delete it, or give another --cache (or none)")

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Completion]:
        """The replies that are known."""
        query = "SELECT reply FROM replies WHERE key = ?"
        try:
            found = ((key, self.base.execute(query, (key,)).fetchone()) for key in keys)
            return {key: _DECODER.decode(row[0]) for key, row in found if row is not None}
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise self._unusable(error) from error

    def put(self, replies: dict[bytes, Completion]) -> None:
        """Keep replies; they are on the disk when this returns."""
        try:
            with self.base:
                rows = ((key, msgspec.msgpack.encode(reply)) for key, reply in replies.items())
                self.base.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Close the file."""
        self.base.close()


class CachedEngine:
    """An engine that is not asked twice: greedy replies come from the cache where it has them.

    Sampled text (temperature above 0) and scores go through untouched; a failed reply is not kept. Equal prompts of one call are
    asked once. `caller` stands for the model and how it is run in the keys.
    """

    def __init__(self, engine: Engine, cache: ReplyCache, caller: str, tally: Tally | None = None) -> None:
        self.engine, self.cache, self.caller = engine, cache, caller
        self.tally = tally or Tally()
        self.control_tokens, self.constrains = engine.control_tokens, engine.constrains

    def chat(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        """Texts for all requests: shape (len(requests), options.n)."""
        if options.temperature > 0:
            return self.engine.chat(requests, options)
        # What a greedy reply does not depend on is no part of its key; the request has its constraint.
        alone = replace(options, n=1, seed=0, top_p=1.0, choice=ChoiceRules())
        keys = [self._key(request, alone) for request in requests]
        replies = self.cache.get(list(dict.fromkeys(keys)))
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in replies}
        self.tally.wanted += len(keys)
        self.tally.known += len(keys) - len(missing)
        if missing:
            groups = self.engine.chat(list(missing.values()), replace(options, n=1))
            made = {key: group[0] for key, group in zip(missing, groups, strict=True)}
            self.cache.put({key: reply for key, reply in made.items() if reply.error is None})
            replies |= made
        return [[replies[key]] * options.n for key in keys]

    def _key(self, request: ChatRequest, options: SamplingOptions) -> bytes:
        # The repr of a request leaves out who listens to it.
        text = repr((self.caller, replace(request, key=""), options))
        return hashlib.sha256(text.encode()).digest()

    def excess(self, chats: Sequence[Chat], max_new_tokens: int) -> list[int]:
        """As the engine says."""
        return self.engine.excess(chats, max_new_tokens)

    def score(self, requests: Sequence[ChatRequest], continuations: Sequence[str]) -> list[list[float]]:
        """As the engine says."""
        return self.engine.score(requests, continuations)

    def close(self) -> None:
        """Free the model's memory and close the cache."""
        self.engine.close()
        self.cache.close()
