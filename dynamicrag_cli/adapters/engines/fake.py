"""The `fake` engine: scripted replies, for tests only.

`--model` names a JSON file: `{"rules": [{"contains": "text of the prompt", "replies": ["[1]", "None"]}], "default": "None"}`.
The first rule whose text occurs in the prompt answers; sample i gets reply i modulo their number. A rule with `error` fails.
"""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.core.engine import ChatRequest, Completion, SamplingOptions
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.prompts import Chat


class FakeEngine:
    """Scripted replies; deterministic, no model."""

    control_tokens = frozenset({"<|im_start|>", "<|im_end|>"})
    constrains = False

    def __init__(self, model: str, settings: EngineSettings) -> None:
        self.max_words = settings.max_model_len
        try:
            self.script: dict[str, Any] = json.loads(Path(model).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"the fake engine's --model must be a JSON script: {error}") from error

    def _rule(self, request: ChatRequest) -> dict[str, Any]:
        prompt = f"{request.chat.system}\n{request.chat.user}"
        for rule in self.script.get("rules", []):
            if rule["contains"] in prompt:
                return dict(rule)
        return {"replies": [self.script.get("default", "None")]}

    def chat(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        """Scripted texts: shape (len(requests), options.n)."""
        return [[self._complete(request, sample, options) for sample in range(options.n)] for request in requests]

    def _complete(self, request: ChatRequest, sample: int, options: SamplingOptions) -> Completion:
        rule = self._rule(request)
        n_prompt = len(request.chat.user.split())
        if "error" in rule:
            return Completion("", "error", n_prompt, error=rule["error"])
        replies = rule["replies"]
        words = replies[(sample if options.temperature > 0 else 0) % len(replies)].split(" ")
        cut = len(words) > options.max_new_tokens
        return Completion(" ".join(words[: options.max_new_tokens]), "length" if cut else "stop", n_prompt, len(words))

    def excess(self, chats: Sequence[Chat], max_new_tokens: int) -> list[int]:
        """Words of the user turn beyond --max-model-len."""
        return [len(chat.user.split()) + max_new_tokens - self.max_words if self.max_words else 0 for chat in chats]

    def score(self, requests: Sequence[ChatRequest], continuations: Sequence[str]) -> list[list[float]]:
        """Scripted `scores` of the rule, else a fixed pseudo-random value from prompt and continuation."""
        table = []
        for request in requests:
            known = self._rule(request).get("scores", {})
            table.append([known.get(c, -1.0 - zlib.crc32((request.chat.user + c).encode()) / 2**32) for c in continuations])
        return table

    def close(self) -> None:
        """Nothing to free."""
