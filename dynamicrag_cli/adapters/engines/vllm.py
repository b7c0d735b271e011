"""The `vllm` engine: a whole chunk is submitted at once, n samples in one request, prefix caching on."""

import gc
import hashlib
import os
from collections.abc import Sequence

os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")

from vllm import LLM, SamplingParams, TokensPrompt

from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.adapters.pretrained import pinned
from dynamicrag_cli.core.engine import ChatRequest, Completion, SamplingOptions
from dynamicrag_cli.core.errors import EngineError
from dynamicrag_cli.core.prompts import Chat

# vLLM's own default.
_MEMORY = 0.9


class VllmEngine:
    """vLLM in this process. Prompts are rendered by the model's own chat template and submitted as tokens."""

    constrains = False

    def __init__(self, model: str, settings: EngineSettings) -> None:
        remote = pinned(model, settings.revision, settings.trust_remote_code)
        if "revision" in remote:
            remote["tokenizer_revision"] = remote["revision"]
        try:
            self.llm = LLM(
                model=model,
                dtype=settings.dtype or "auto",
                max_model_len=settings.max_model_len,
                tensor_parallel_size=settings.gpus,
                gpu_memory_utilization=_MEMORY * settings.memory_share,
                enable_prefix_caching=True,
                **remote,
            )
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"vLLM cannot load {model!r}: {error}") from error
        self.tokenizer = self.llm.get_tokenizer()
        self.control_tokens = frozenset(self.tokenizer.get_added_vocab())
        self.max_tokens = int(self.llm.llm_engine.model_config.max_model_len)

    def _encode(self, chat: Chat) -> list[int]:
        text = self.tokenizer.apply_chat_template(chat.messages(), tokenize=False, add_generation_prompt=True)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def excess(self, chats: Sequence[Chat], max_new_tokens: int) -> list[int]:
        """Tokens by which each prompt with its reply exceeds the context."""
        return [len(self._encode(chat)) + max_new_tokens - self.max_tokens for chat in chats]

    def chat(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        """Texts for all requests: shape (len(requests), options.n)."""
        prompts = [self._encode(request.chat) for request in requests]
        fits = [len(prompt) + options.max_new_tokens <= self.max_tokens for prompt in prompts]
        outputs = iter(
            self.llm.generate(
                [TokensPrompt(prompt_token_ids=prompt) for prompt, fit in zip(prompts, fits, strict=True) if fit],
                [_params(request, options) for request, fit in zip(requests, fits, strict=True) if fit],
                use_tqdm=False,
            )
        )
        results = []
        for prompt, fit in zip(prompts, fits, strict=True):
            if fit:
                results.append(
                    [
                        Completion(o.text.strip(), o.finish_reason or "stop", len(prompt), len(o.token_ids))
                        for o in next(outputs).outputs
                    ]
                )
            else:
                error = (
                    f"prompt of {len(prompt)} tokens + {options.max_new_tokens} new ones exceeds the context of {self.max_tokens}"
                )
                results.append([Completion("", "error", len(prompt), error=error)] * options.n)
        return results

    def score(self, requests: Sequence[ChatRequest], continuations: Sequence[str]) -> list[list[float]]:
        """Log-probability of each continuation, read off vLLM's prompt log-probabilities."""
        tails = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in continuations]
        prompts = [self._encode(request.chat) for request in requests]
        rows = [TokensPrompt(prompt_token_ids=[*prompt, *tail]) for prompt in prompts for tail in tails]
        outputs = iter(self.llm.generate(rows, SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False))
        table = []
        for prompt in prompts:
            values = []
            for tail in tails:
                places = (next(outputs).prompt_logprobs or [])[len(prompt) :]
                values.append(sum(place[token].logprob for place, token in zip(places, tail, strict=True)))
            table.append(values)
        return table

    def close(self) -> None:
        """Free the model's memory."""
        del self.llm
        gc.collect()


def _params(request: ChatRequest, options: SamplingOptions) -> SamplingParams:
    seed = int.from_bytes(hashlib.sha256(f"{options.seed}\x1f{request.key}".encode()).digest()[:4], "big")
    return SamplingParams(
        n=options.n, temperature=options.temperature, top_p=options.top_p, max_tokens=options.max_new_tokens, seed=seed
    )
