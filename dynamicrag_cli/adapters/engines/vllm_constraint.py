"""Constrained replies in vLLM: a logits processor over the automaton of `core.grammar`, one walk per request."""

from dataclasses import asdict
from typing import Any

import torch
from transformers import AutoTokenizer
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from dynamicrag_cli.adapters.engines.reply_tokens import reply_vocabulary, weigh
from dynamicrag_cli.adapters.pretrained import load
from dynamicrag_cli.core.grammar import Constraint, Vocabulary, Walk

_ARGUMENT = "drag_constraint"
PROCESSOR = f"{__name__}:ConstrainedReplies"


def constraint_arguments(constraint: Constraint | None, ends: frozenset[int]) -> dict[str, Any] | None:
    """What a request's `SamplingParams.extra_args` tells the processor; `ends` are the tokens that end a reply."""
    return None if constraint is None else {_ARGUMENT: {**asdict(constraint), "ends": sorted(ends)}}


class ConstrainedReplies(AdapterLogitsProcessor):  # type: ignore[misc]  # vLLM is not analysed
    """Keeps the requests that have a constraint to it; it lives in vLLM's engine process, so it loads the tokenizer itself."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        super().__init__(vllm_config, device, is_pin_memory)
        model = vllm_config.model_config
        remote = {"revision": model.tokenizer_revision, "trust_remote_code": model.trust_remote_code}
        self.tokenizer = load("tokenizer", model.tokenizer, AutoTokenizer.from_pretrained, **remote)
        self.vocabularies: dict[tuple[int, ...], Vocabulary] = {}

    def is_argmax_invariant(self) -> bool:
        """The likeliest token may be one that is not allowed."""
        return False

    def new_req_logits_processor(self, params: SamplingParams) -> Any:
        """The processor of one request; None for a free one."""
        given = dict((params.extra_args or {}).get(_ARGUMENT) or {})
        if not given:
            return None
        ends = tuple(given.pop("ends"))
        if ends not in self.vocabularies:
            self.vocabularies[ends] = reply_vocabulary(self.tokenizer, ends)
        walk = Walk(self.vocabularies[ends], Constraint(**given), params.max_tokens)
        n_walked = 0

        def process(written: list[int], logits: torch.Tensor) -> torch.Tensor:
            nonlocal n_walked
            for token in written[n_walked:]:
                walk.advance(token)
            n_walked = len(written)
            return weigh(walk, logits)

        return process
