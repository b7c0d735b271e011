"""The `openai` engine: any OpenAI-compatible chat endpoint (vLLM's and llama.cpp's servers, hosted APIs).

The key is read from OPENAI_API_KEY and never stored. Requests run concurrently; 429, 5xx, time-outs and lost connections are
retried with growing waits, and what still fails gives a completion with `error`, so one bad request does not stop a run.
"""

import asyncio
import hashlib
import os
from collections.abc import Sequence

import openai
from openai import AsyncOpenAI
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.core.engine import ChatRequest, Completion, SamplingOptions
from dynamicrag_cli.core.errors import EngineError, UsageError
from dynamicrag_cli.core.prompts import Chat

_PASSING = (openai.RateLimitError, openai.InternalServerError, openai.APIConnectionError, openai.APITimeoutError)
_ATTEMPTS = 5
# The endpoint's tokenizer is not here; English text has four or five letters a token.
_LETTERS_PER_TOKEN = 3


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
        return [(len(chat.system) + len(chat.user)) // _LETTERS_PER_TOKEN + max_new_tokens - limit for chat in chats]

    def chat(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        """Texts for all requests: shape (len(requests), options.n)."""
        return asyncio.run(self._chat_all(requests, options))

    async def _chat_all(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        gate = asyncio.Semaphore(self.settings.concurrency)
        # A local server asks for no key, but the client refuses to start without one.
        key = os.environ.get("OPENAI_API_KEY", "none")
        async with AsyncOpenAI(api_key=key, base_url=self.base_url, timeout=self.settings.timeout_s, max_retries=0) as client:

            async def one(request: ChatRequest) -> list[Completion]:
                async with gate:
                    return await self._chat_one(client, request, options)

            results = await asyncio.gather(*(one(request) for request in requests))
        if results and all(c.error and c.error.startswith("APIConnectionError") for group in results for c in group):
            raise EngineError(f"no request reached {self.base_url or 'the hosted API'}: {results[0][0].error}")
        return list(results)

    async def _chat_one(self, client: AsyncOpenAI, request: ChatRequest, options: SamplingOptions) -> list[Completion]:
        seed = int.from_bytes(hashlib.sha256(f"{options.seed}\x1f{request.key}".encode()).digest()[:4], "big") >> 1
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_PASSING),
                stop=stop_after_attempt(_ATTEMPTS),
                wait=wait_random_exponential(multiplier=0.5, max=30),
                reraise=True,
            ):
                with attempt:
                    reply = await client.chat.completions.create(
                        model=self.model,
                        messages=request.chat.messages(),
                        n=options.n,
                        temperature=options.temperature,
                        top_p=options.top_p,
                        max_tokens=options.max_new_tokens,
                        seed=seed,
                    )
            usage = reply.usage
            n_prompt, n_new = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
            made = [
                Completion(
                    (choice.message.content or "").strip(), choice.finish_reason or "stop", n_prompt, n_new // len(reply.choices)
                )
                for choice in reply.choices
            ]
        except (openai.OpenAIError, AttributeError, TypeError, ValueError) as error:
            # A page of HTML or a foreign JSON document surfaces as one of the last three.
            made = [Completion("", "error", error=f"{type(error).__name__}: {_redacted(str(error))[:300]}")] * options.n
        lacking = Completion("", "error", error=f"the endpoint returned {len(made)} of {options.n} samples")
        return (made + [lacking] * options.n)[: options.n]

    def score(self, requests: Sequence[ChatRequest], continuations: Sequence[str]) -> list[list[float]]:
        """Not offered: chat endpoints do not give the probability of a fixed reply."""
        raise UsageError("the openai engine cannot score fixed replies; use --engine hf or vllm")

    def close(self) -> None:
        """Nothing to free."""


def _redacted(text: str) -> str:
    """The text without the key, which some servers repeat when they refuse it."""
    key = os.environ.get("OPENAI_API_KEY")
    return text.replace(key, "***") if key else text
