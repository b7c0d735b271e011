"""The `openai` engine: any OpenAI-compatible chat endpoint (vLLM's and llama.cpp's servers, hosted APIs).

The key is read from OPENAI_API_KEY and never stored. Requests run concurrently; 429, 5xx, time-outs and lost connections are
retried by the client library, which waits longer each time or as long as the server asks (Retry-After). What still fails is a
completion with `error` if it is about this request, so one bad request does not stop a run; it is an `EngineError` if no other
request would fare better, so that a wrong key or a server that is down costs no question.
"""

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import openai
from openai import AsyncOpenAI

from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.core.engine import ChatRequest, Completion, SamplingOptions
from dynamicrag_cli.core.errors import EngineError, UsageError
from dynamicrag_cli.core.prompts import Chat

# Their waits are 20 seconds together, where the server asks for nothing else.
_RETRIES = 6
# About the key, the address or the model's name, not about what was asked.
_REFUSED = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
# About what was asked, not about the server.
_UNFIT = (openai.BadRequestError, openai.UnprocessableEntityError)
# The endpoint's tokenizer is not here. English has four or five letters a token; other scripts have more bytes a letter, and more
# tokens.
_BYTES_PER_TOKEN = 3


@dataclass
class _Progress:
    """What became of the requests of one call so far."""

    n_answered: int = 0
    n_failed: int = 0


class OpenAiEngine:
    """Chat over HTTP. The endpoint renders the chat template, so control tokens are its business as well as ours."""

    control_tokens: frozenset[str] = frozenset()
    constrains = False

    def __init__(self, model: str, settings: EngineSettings) -> None:
        self.model, self.settings = model, settings
        self.base_url = settings.base_url or os.environ.get("OPENAI_BASE_URL")
        if not self.base_url and not os.environ.get("OPENAI_API_KEY"):
            raise UsageError("the openai engine needs --base-url (or OPENAI_BASE_URL), or OPENAI_API_KEY for the hosted API")

    def excess(self, chats: Sequence[Chat], max_new_tokens: int) -> list[int]:
        """Tokens by which each prompt with its reply exceeds --max-model-len, by a careful guess; 0 if the limit is not given."""
        limit = self.settings.max_model_len
        if limit is None:
            return [0] * len(chats)
        return [len((chat.system + chat.user).encode()) // _BYTES_PER_TOKEN + max_new_tokens - limit for chat in chats]

    def chat(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        """Texts for all requests: shape (len(requests), options.n)."""
        return asyncio.run(self._chat_all(requests, options))

    async def _chat_all(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        gate, progress = asyncio.Semaphore(self.settings.concurrency), _Progress()
        # A local server asks for no key, but the client refuses to start without one.
        key = os.environ.get("OPENAI_API_KEY", "none")
        timeout = self.settings.timeout_s
        async with AsyncOpenAI(api_key=key, base_url=self.base_url, timeout=timeout, max_retries=_RETRIES) as client:

            async def one(request: ChatRequest) -> list[Completion]:
                async with gate:
                    made = await self._chat_one(client, request, options, progress)
                # None of many was answered: neither will the rest be.
                if not progress.n_answered and progress.n_failed >= min(len(requests), self.settings.concurrency) > 1:
                    raise self._lost(str(made[-1].error))
                return made

            return await asyncio.gather(*(one(request) for request in requests))

    async def _chat_one(
        self, client: AsyncOpenAI, request: ChatRequest, options: SamplingOptions, progress: _Progress
    ) -> list[Completion]:
        seed = int.from_bytes(hashlib.sha256(f"{options.seed}\x1f{request.key}".encode()).digest()[:4], "big") >> 1
        # Greedy samples are all equal, and vLLM's server refuses to draw more than one.
        n = at_once = options.n if options.temperature > 0 else 1
        made: list[Completion] = []
        while len(made) < n:
            asked = {
                "model": self.model,
                "messages": request.chat.messages(),
                "n": min(at_once, n - len(made)),
                "temperature": options.temperature,
                "top_p": options.top_p,
                "max_tokens": options.max_new_tokens,
                "seed": (seed + len(made)) % 2**31,
            }
            try:
                made += _completions(await self._post(client, asked, progress))[: n - len(made)]
                progress.n_answered += 1
            except _UNFIT as error:
                # Some servers give one sample at a time: the others are asked for, one by one.
                if at_once == 1:
                    made += [Completion("", "error", error=_told(error))] * (n - len(made))
                at_once = 1
            except (openai.OpenAIError, ValueError) as error:
                made += [Completion("", "error", error=_told(error))] * (n - len(made))
                progress.n_failed += 1
        return made if len(made) == options.n else made * options.n

    async def _post(self, client: AsyncOpenAI, asked: dict[str, Any], progress: _Progress) -> Any:
        """One request, retried; a limit of requests is waited for as long as some of the others get through.

        Raises:
            EngineError: The server cannot be reached, refuses the key or the model, or lets nobody through.
            openai.OpenAIError: Any other failure.
        """
        while True:
            n_before = progress.n_answered
            try:
                return await client.chat.completions.create(**asked)
            except openai.RateLimitError as error:
                if progress.n_answered == n_before:
                    raise self._lost(_told(error)) from error
            except openai.APITimeoutError:
                raise
            except (openai.APIConnectionError, *_REFUSED) as error:
                raise self._lost(_told(error)) from error

    def _lost(self, reason: str) -> EngineError:
        where = self.base_url or "the hosted API"
        return EngineError(f"{where} gives no answers: {reason}; what is finished is kept, and the same command goes on")

    def score(self, requests: Sequence[ChatRequest], continuations: Sequence[str]) -> list[list[float]]:
        """Not offered: chat endpoints do not give the probability of a fixed reply."""
        raise UsageError("the openai engine cannot score fixed replies; use --engine hf or vllm")

    def close(self) -> None:
        """Nothing to free."""


def _completions(reply: Any) -> list[Completion]:
    """The samples of a reply.

    Raises:
        ValueError: It is something else: a page of HTML, a foreign JSON document, or no sample at all.
    """
    choices = getattr(reply, "choices", None)
    if not isinstance(choices, list) or not choices or any(getattr(choice, "message", None) is None for choice in choices):
        raise ValueError(f"the endpoint's reply is no chat completion: {str(reply)!r}")
    usage = reply.usage
    n_prompt, n_new = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return [
        Completion("", "error", n_prompt, error="the endpoint's content filter withheld the reply")
        if choice.finish_reason == "content_filter"
        else Completion("", "error", n_prompt, error="the reply reached its limit of tokens within the model's reasoning")
        if choice.finish_reason == "length" and not choice.message.content
        else Completion((choice.message.content or "").strip(), choice.finish_reason or "stop", n_prompt, n_new // len(choices))
        for choice in choices
    ]


def _told(error: Exception) -> str:
    """An error for a record or a message, without the key, which some servers repeat when they refuse it."""
    text, key = str(error), os.environ.get("OPENAI_API_KEY")
    return f"{type(error).__name__}: {text.replace(key, '***') if key else text}"[:300]
