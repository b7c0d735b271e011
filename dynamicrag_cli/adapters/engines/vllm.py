"""The `vllm` engine: a whole chunk is submitted at once, n samples in one request, prefix caching on."""

import gc
import hashlib
import math
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from multiprocessing.resource_tracker import ensure_running
from typing import Any

import torch

os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from vllm import LLM, SamplingParams, TokensPrompt
from vllm.v1.engine.exceptions import EngineDeadError

from dynamicrag_cli.adapters.engines.reply_tokens import reply_vocabulary, stop_probs
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.adapters.engines.tokens import ChatEncoder
from dynamicrag_cli.adapters.engines.vllm_constraint import PROCESSOR, constraint_arguments
from dynamicrag_cli.adapters.pretrained import check_chat_template, check_folder, pinned
from dynamicrag_cli.core.engine import ChatRequest, Completion, SamplingOptions
from dynamicrag_cli.core.errors import EngineError
from dynamicrag_cli.core.grammar import Vocabulary, Walk
from dynamicrag_cli.core.prompts import Chat

# vLLM's own default.
_MEMORY = 0.9
# Tokens whose log-probabilities vLLM tells at each place of a reply, at most (its MAX_LOGPROB_TOKEN_IDS).
_MOST_TOLD = 128
# Without a GPU vLLM would take that share of the machine's memory for its cache; VLLM_CPU_KVCACHE_SPACE (GiB) overrides ours.
_CPU_CACHE_BYTES = 4 << 30


def _on_cpu(settings: EngineSettings) -> dict[str, Any]:
    """What vLLM needs to run well without a GPU; variables that are set win.

    float32 because few CPUs multiply bfloat16 faster, no compilation because it takes minutes, and no core kept free for the
    scheduler, which on a laptop would be half of the machine.
    """
    os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    cache = int(_CPU_CACHE_BYTES * settings.memory_share)
    return {
        "dtype": settings.dtype or "float32",
        "enforce_eager": True,
        "kv_cache_memory_bytes": cache,
        # A prompt read in parts and a seed do not go together on a CPU: vLLM's engine dies ("does not use offset").
        "enable_chunked_prefill": False,
    }


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started within do not hear Ctrl-C, which a terminal sends to all of them: the chunk in hand is finished first."""
    ensure_running()  # The tracker unblocks it when it is started.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class VllmEngine:
    """vLLM in this process. Prompts are rendered by the model's own chat template and submitted as tokens."""

    constrains = True

    def __init__(self, model: str, settings: EngineSettings) -> None:
        check_folder("model", model)
        remote = pinned(model, settings.revision, settings.trust_remote_code)
        if "revision" in remote:
            remote["tokenizer_revision"] = remote["revision"]
        place = {"dtype": settings.dtype or "auto"} if torch.cuda.is_available() else _on_cpu(settings)
        try:
            with _deaf_to_ctrl_c():
                self.llm = LLM(
                    model=model,
                    max_model_len=settings.max_model_len,
                    tensor_parallel_size=settings.gpus,
                    gpu_memory_utilization=_MEMORY * settings.memory_share,
                    enable_prefix_caching=True,
                    # By name: vLLM loads it in its engine process.
                    logits_processors=[PROCESSOR],
                    **place,
                    **remote,
                )
        except (OSError, RuntimeError, ValueError) as error:
            raise EngineError(f"vLLM cannot load {model!r}: {error}") from error
        self.tokenizer = self.llm.get_tokenizer()
        check_chat_template(model, self.tokenizer)
        self._encode = ChatEncoder(self.tokenizer)
        self.control_tokens = frozenset(self.tokenizer.get_added_vocab())
        config = self.llm.llm_engine.model_config
        self.max_tokens = int(config.max_model_len)
        configured = config.try_get_generation_config().get("eos_token_id")
        ends = {self.tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
        self.stop_ids = frozenset(token for token in ends if token is not None)

    def excess(self, chats: Sequence[Chat], max_new_tokens: int) -> list[int]:
        """Tokens by which each prompt with its reply exceeds the context."""
        return [len(prompt) + max_new_tokens - self.max_tokens for prompt in self._encode(chats)]

    def _generate(self, prompts: Sequence[list[int]], params: Any) -> list[Any]:
        try:
            rows = [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts]
            return list(self.llm.generate(rows, params, use_tqdm=False))
        except EngineDeadError as error:
            reason = "vLLM's engine process died, perhaps of too little memory"
            raise EngineError(f"{reason}; what is finished is kept, and the same command goes on") from error

    def chat(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        """Texts for all requests: shape (len(requests), options.n)."""
        prompts = self._encode([request.chat for request in requests])
        fits = [len(prompt) + options.max_new_tokens <= self.max_tokens for prompt in prompts]
        outputs = iter(
            self._generate(
                [prompt for prompt, fit in zip(prompts, fits, strict=True) if fit],
                [self._params(request, options) for request, fit in zip(requests, fits, strict=True) if fit],
            )
        )
        results = []
        for request, prompt, fit in zip(requests, prompts, fits, strict=True):
            if fit:
                made = [self._completion(request, len(prompt), sample, options) for sample in next(outputs).outputs]
                results.append(made * (1 if options.temperature > 0 else options.n))
            else:
                error = (
                    f"prompt of {len(prompt)} tokens + {options.max_new_tokens} new ones exceeds the context of {self.max_tokens}"
                )
                results.append([Completion("", "error", len(prompt), error=error)] * options.n)
        return results

    def _completion(self, request: ChatRequest, n_prompt: int, sample: Any, options: SamplingOptions) -> Completion:
        found = None
        if request.constraint and self._deciding:
            known = [{token: place.logprob for token, place in places.items()} for places in sample.logprobs]
            found = stop_probs(Walk(self._vocabulary, request.constraint, options.max_new_tokens), sample.token_ids, known)
        # The text of a request with told tokens is ours to decode: vLLM would decode all of those too, one by one.
        text = self.tokenizer.decode(sample.token_ids, skip_special_tokens=True) if found is not None else sample.text
        return Completion(text.strip(), sample.finish_reason or "stop", n_prompt, len(sample.token_ids), stop_probs=found)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return reply_vocabulary(self.tokenizer, self.stop_ids)

    @cached_property
    def _deciding(self) -> list[int] | None:
        """The tokens whose probabilities tell `stop_probs`; None where vLLM cannot tell so many, or is too old to tell any."""
        tokens = self._vocabulary.deciding
        return list(tokens) if len(tokens) <= _MOST_TOLD and _tells_chosen() else None

    def _params(self, request: ChatRequest, options: SamplingOptions) -> SamplingParams:
        seed = int.from_bytes(hashlib.sha256(f"{options.seed}\x1f{request.key}".encode()).digest()[:4], "big")
        told = self._deciding if request.constraint else None
        return SamplingParams(
            # Greedy samples are all equal, and vLLM refuses to draw more than one.
            n=options.n if options.temperature > 0 else 1,
            temperature=options.temperature,
            top_p=options.top_p,
            max_tokens=options.max_new_tokens,
            seed=seed,
            extra_args=constraint_arguments(request.constraint, self.stop_ids),
            **({"logprob_token_ids": told, "detokenize": False} if told else {}),
        )

    def score(self, requests: Sequence[ChatRequest], continuations: Sequence[str]) -> list[list[float]]:
        """Log-probability of each continuation; NaN where it exceeds the context.

        If each is one token (yes, no) they are read off the first token of a reply, so that a prompt is read once and may be in
        the prefix cache; else off vLLM's prompt log-probabilities.
        """
        tails = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in continuations]
        # vLLM always generates a token more.
        room = self.max_tokens - 1 - max(map(len, tails), default=0)
        prompts = self._encode([request.chat for request in requests])
        if tails and all(len(tail) == 1 for tail in tails) and _tells_chosen():
            return self._first_tokens(prompts, [tail[0] for tail in tails])
        rows = [[*prompt, *tail] for prompt in prompts for tail in tails if len(prompt) <= room]
        outputs = iter(self._generate(rows, SamplingParams(max_tokens=1, prompt_logprobs=0)))
        table = []
        for prompt in prompts:
            values = [math.nan] * len(tails)
            for number, tail in enumerate(tails if len(prompt) <= room else ()):
                places = next(outputs).prompt_logprobs[len(prompt) :]
                values[number] = sum(place[token].logprob for place, token in zip(places, tail, strict=True))
            table.append(values)
        return table

    def _first_tokens(self, prompts: Sequence[list[int]], tokens: list[int]) -> list[list[float]]:
        room = self.max_tokens - 1
        asked = SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=tokens)
        outputs = iter(self._generate([prompt for prompt in prompts if len(prompt) <= room], asked))
        table = []
        for prompt in prompts:
            place = next(outputs).outputs[0].logprobs[0] if len(prompt) <= room else None
            table.append([place[token].logprob if place else math.nan for token in tokens])
        return table

    def close(self) -> None:
        """End vLLM's processes, and with them the use of the GPU's memory."""
        self.llm.llm_engine.engine_core.shutdown()
        del self.llm
        gc.collect()


def _tells_chosen() -> bool:
    """Whether this vLLM tells the log-probabilities of tokens that are named to it; old ones do not."""
    return hasattr(SamplingParams, "logprob_token_ids")
