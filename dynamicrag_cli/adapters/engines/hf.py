"""The `hf` engine: transformers, batched by length, one prefill for all samples of a prompt."""

import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dynamicrag_cli.adapters.engines.reply_tokens import reply_vocabulary, weigh
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.adapters.engines.tokens import ChatEncoder
from dynamicrag_cli.adapters.pretrained import check_chat_template, load, pick_device, pinned
from dynamicrag_cli.core.engine import ChatRequest, Completion, SamplingOptions
from dynamicrag_cli.core.errors import EngineError, UsageError
from dynamicrag_cli.core.grammar import Vocabulary, Walk
from dynamicrag_cli.core.prompts import Chat

P = ParamSpec("P")
R = TypeVar("R")

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def _explains_memory(method: Callable[P, R]) -> Callable[P, R]:
    """Make an error for people of an exhausted memory, wherever in the method it shows."""

    @functools.wraps(method)
    def guarded(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return method(*arguments, **options)
        except torch.OutOfMemoryError as error:
            raise EngineError("out of memory; lower --batch-tokens") from error

    return guarded


class HfEngine:
    """A causal language model with its tokenizer's own chat template.

    Prompts are sorted by length and put into batches of at most `batch_tokens` tokens (prompt times samples), so that padding
    is small. Sampling draws Gumbel noise from (seed, key, sample, step) and takes the arg-max (Gumbel-max trick), which makes a
    sample independent of what else is in the batch.
    """

    constrains = True

    def __init__(self, model: str, settings: EngineSettings) -> None:
        self.device = pick_device(settings.device)
        dtype = _DTYPES[settings.dtype] if settings.dtype else torch.bfloat16 if self.device.startswith("cuda") else torch.float32
        remote = pinned(model, settings.revision, settings.trust_remote_code)
        self.tokenizer = load("model", model, AutoTokenizer.from_pretrained, padding_side="left", **remote)
        check_chat_template(model, self.tokenizer)
        self.encode = ChatEncoder(self.tokenizer)
        self.model = load("model", model, AutoModelForCausalLM.from_pretrained, dtype=dtype, **remote).to(self.device).eval()
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.control_tokens = frozenset(self.tokenizer.get_added_vocab())
        longest = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if settings.max_model_len and longest and settings.max_model_len > longest:
            raise UsageError(f"--max-model-len {settings.max_model_len} is more than the {longest} tokens that {model!r} knows")
        self.max_tokens = int(settings.max_model_len or longest or 4096)
        self.batch_tokens = settings.batch_tokens
        self.stop_ids = self._stop_ids()

    def _stop_ids(self) -> frozenset[int]:
        ids = {self.tokenizer.eos_token_id}
        configured = self.model.generation_config.eos_token_id
        ids.update(configured if isinstance(configured, list) else [configured])
        return frozenset(i for i in ids if i is not None)

    @functools.cached_property
    def _vocabulary(self) -> Vocabulary:
        return reply_vocabulary(self.tokenizer, self.stop_ids)

    def excess(self, chats: Sequence[Chat], max_new_tokens: int) -> list[int]:
        """Tokens by which each prompt with its reply exceeds the context."""
        return [len(prompt) + max_new_tokens - self.max_tokens for prompt in self.encode(chats)]

    @_explains_memory
    def chat(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        """Texts for all requests: shape (len(requests), options.n)."""
        prompts = self.encode([request.chat for request in requests])
        results: list[list[Completion]] = [[] for _ in requests]
        fitting = []
        for index, prompt in enumerate(prompts):
            if len(prompt) + options.max_new_tokens > self.max_tokens:
                error = (
                    f"prompt of {len(prompt)} tokens + {options.max_new_tokens} new ones exceeds the context of {self.max_tokens}"
                )
                results[index] = [Completion("", "error", len(prompt), error=error)] * options.n
            else:
                fitting.append(index)
        n_drawn = options.n if options.temperature > 0 else 1
        for batch in self._batches(fitting, prompts, n_drawn, options.max_new_tokens):
            made = self._generate([prompts[i] for i in batch], [requests[i] for i in batch], n_drawn, options)
            for index, completions in zip(batch, made, strict=True):
                results[index] = completions if n_drawn == options.n else completions * options.n
        return results

    def _batches(self, indices: list[int], prompts: list[list[int]], n: int, new: int) -> Iterator[list[int]]:
        """Indices in batches of similar length, longest first, so that memory is exhausted early or not at all."""
        batch: list[int] = []
        longest = 0
        for index in sorted(indices, key=lambda i: (-len(prompts[i]), i)):
            longest = longest or len(prompts[index])
            if batch and (len(batch) + 1) * n * (longest + new) > self.batch_tokens:
                yield batch
                batch, longest = [], len(prompts[index])
            batch.append(index)
        if batch:
            yield batch

    @torch.inference_mode()
    def _generate(
        self, prompts: list[list[int]], requests: list[ChatRequest], n: int, options: SamplingOptions
    ) -> list[list[Completion]]:
        logits, cache, mask = self._prefill(prompts, n)
        rows = len(prompts) * n
        samplers = [_Gumbel(options.seed, request.key, sample) for request in requests for sample in range(n)]
        rules = [request.constraint for request in requests for _ in range(n)]
        walks = [Walk(self._vocabulary, rule, options.max_new_tokens) if rule else None for rule in rules]
        tokens: list[list[int]] = [[] for _ in range(rows)]
        logprobs: list[list[float]] = [[] for _ in range(rows)]
        reasons = ["length"] * rows
        live = list(range(rows))  # the sample in each row of the batch, which a finished one leaves
        position = mask.sum(dim=1, keepdim=True)
        for step in range(options.max_new_tokens):
            for place, row in enumerate(live):
                if walk := walks[row]:
                    logits[place] = weigh(walk, logits[place])
            chosen, chosen_logprobs = _choose(logits, [samplers[row] for row in live], step, options)
            going = []
            for place, row in enumerate(live):
                token = int(chosen[place])
                if walk := walks[row]:
                    walk.advance(token)
                logprobs[row].append(float(chosen_logprobs[place]))
                if token in self.stop_ids:
                    reasons[row] = "stop"
                else:
                    tokens[row].append(token)
                    going.append(place)
                    if tell := requests[row // n].on_text:
                        tell(self.tokenizer.decode(tokens[row], skip_special_tokens=True))
            if not going or step == options.max_new_tokens - 1:
                break
            if len(going) < len(live):
                live, chosen = [live[place] for place in going], chosen[going]
                kept = torch.tensor(going, device=self.device)
                cache.batch_select_indices(kept)
                mask, position = mask[kept], position[kept]
            mask = torch.cat([mask, mask.new_ones(len(live), 1)], dim=1)
            output = self.model(
                input_ids=chosen.to(self.device)[:, None],
                attention_mask=mask,
                position_ids=position,
                past_key_values=cache,
                use_cache=True,
            )
            position = position + 1
            logits = output.logits[:, -1].float().cpu()
        texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        made = [
            Completion(
                texts[row].strip(),
                reasons[row],
                len(prompts[row // n]),
                len(logprobs[row]),
                tuple(logprobs[row]),
                stop_probs=tuple(walk.stop_probs) if walk else None,
            )
            for row, walk in enumerate(walks)
        ]
        return [made[i * n : (i + 1) * n] for i in range(len(prompts))]

    def _prefill(self, prompts: list[list[int]], n: int) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """One forward pass per prompt; its cache and last logits are then repeated for the n samples."""
        ids, mask = self._pad(prompts)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        output = self.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1)
        cache, logits = output.past_key_values, output.logits[:, -1].float().cpu()
        if n > 1:
            cache.batch_repeat_interleave(n)
            logits, mask = logits.repeat_interleave(n, dim=0), mask.repeat_interleave(n, dim=0)
        return logits, cache, mask

    def _pad(self, prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, prompts))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=self.device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=self.device)
        return ids, mask

    @_explains_memory
    @torch.inference_mode()
    def score(self, requests: Sequence[ChatRequest], continuations: Sequence[str]) -> list[list[float]]:
        """Log-probability of each continuation as the start of the reply; continuations of one token share one forward pass."""
        prompts = self.encode([request.chat for request in requests])
        tails = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in continuations]
        room = self.max_tokens - max(map(len, tails), default=0)
        fitting = [index for index, prompt in enumerate(prompts) if len(prompt) <= room]
        # A prompt over the context has no score; what is made of NaN is the caller's business.
        results = [[] if len(prompt) <= room else [math.nan] * len(tails) for prompt in prompts]
        if all(len(tail) == 1 for tail in tails):
            for batch in self._batches(fitting, prompts, 1, 1):
                logits, _, _ = self._prefill([prompts[i] for i in batch], 1)
                table = logits.log_softmax(dim=-1)
                for row, index in enumerate(batch):
                    results[index] = [float(table[row, tail[0]]) for tail in tails]
            return results
        rows = [(i, prompts[i], tail) for i in fitting for tail in tails]
        flat = [prompt + tail for _, prompt, tail in rows]
        values = [0.0] * len(rows)
        for batch in self._batches(list(range(len(flat))), flat, 1, 1):
            ids, mask = self._pad([flat[i] for i in batch])
            keep = max(len(rows[i][2]) for i in batch) + 1
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            table = (
                self.model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=keep)
                .logits.float()
                .log_softmax(-1)
            )
            for row, index in enumerate(batch):
                tail = rows[index][2]
                values[index] = sum(float(table[row, keep - 1 - len(tail) + j, token]) for j, token in enumerate(tail))
        for (index, _, _), value in zip(rows, values, strict=True):
            results[index].append(value)
        return results

    def close(self) -> None:
        """Free the model's memory."""
        del self.model
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()


class _Gumbel:
    """Gumbel noise for one sample, a function of (seed, key, sample number, step)."""

    def __init__(self, seed: int, key: str, sample: int) -> None:
        digest = hashlib.sha256(f"{seed}\x1f{key}\x1f{sample}".encode()).digest()
        self.entropy = int.from_bytes(digest[:16], "big")

    def noise(self, step: int, size: int) -> torch.Tensor:
        draws = np.random.Generator(np.random.Philox(key=self.entropy, counter=step << 64)).gumbel(size=size)
        return torch.from_numpy(draws.astype(np.float32))


def _choose(
    logits: torch.Tensor, samplers: list[_Gumbel], step: int, options: SamplingOptions
) -> tuple[torch.Tensor, torch.Tensor]:
    """The next token of every row and its log-probability under the untempered model."""
    table = logits.log_softmax(dim=-1)
    if options.temperature == 0:
        chosen = logits.argmax(dim=-1)
    else:
        scaled = _nucleus(logits / options.temperature, options.top_p)
        noise = torch.stack([sampler.noise(step, scaled.shape[-1]) for sampler in samplers])
        chosen = (scaled + noise).argmax(dim=-1)
    return chosen, table.gather(1, chosen[:, None])[:, 0]


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Logits with everything outside the smallest set of mass >= top_p set to -inf (Holtzman et al. 2020)."""
    if top_p >= 1:
        return logits
    ordered, order = logits.sort(dim=-1, descending=True)
    mass_before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
    ordered = ordered.masked_fill(mass_before >= top_p, float("-inf"))
    return torch.full_like(logits, float("-inf")).scatter(-1, order, ordered)
