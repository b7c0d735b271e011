"""The logits processor over a stand-in for vLLM's base class; in vLLM itself it runs in tests/test_vllm.py."""

import importlib
import random
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from dynamicrag_cli.core.grammar import Constraint
from dynamicrag_cli.core.identifiers import parse_selection


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    stand_in, processors = ModuleType("vllm"), ModuleType("vllm.v1.sample.logits_processor")
    stand_in.SamplingParams = SimpleNamespace
    processors.AdapterLogitsProcessor = type("AdapterLogitsProcessor", (), {"__init__": lambda self, *_: None})
    for name, part in {"": stand_in, ".v1": ModuleType("v1"), ".v1.sample": ModuleType("sample")}.items():
        monkeypatch.setitem(sys.modules, f"vllm{name}", part)
    monkeypatch.setitem(sys.modules, processors.__name__, processors)
    name = "dynamicrag_cli.adapters.engines.vllm_constraint"
    monkeypatch.delitem(sys.modules, name, raising=False)
    made = importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, made)
    return made


@pytest.fixture
def replies(module: Any, tiny_lm: Path) -> Any:
    config = SimpleNamespace(tokenizer=str(tiny_lm), tokenizer_revision=None, trust_remote_code=False)
    return module.ConstrainedReplies(SimpleNamespace(model_config=config), torch.device("cpu"), False)


def params(module: Any, constraint: Constraint | None, replies: Any) -> SimpleNamespace:
    ends = frozenset({replies.tokenizer.eos_token_id})
    return SimpleNamespace(extra_args=module.constraint_arguments(constraint, ends), max_tokens=30)


def test_random_logits_end_in_a_well_formed_reply(module: Any, replies: Any) -> None:
    for seed in range(30):
        process = replies.new_req_logits_processor(params(module, Constraint(11, 1, 4), replies))
        generator = torch.Generator().manual_seed(seed)
        written: list[int] = []  # vLLM's own list, which grows between the calls
        while not written or written[-1] != replies.tokenizer.eos_token_id:
            logits = process(written, torch.randn(len(replies.tokenizer), generator=generator))
            written.append(int(logits.argmax()))
        parsed = parse_selection(replies.tokenizer.decode(written[:-1]), 11)
        assert parsed.status == "ok"
        assert 1 <= len(parsed.positions) <= 4


def test_a_request_that_was_put_off_goes_on_from_what_it_has_written(module: Any, replies: Any) -> None:
    """vLLM may drop a request and take it up again: the processor is new, and the list already holds tokens."""
    given = params(module, Constraint(9), replies)
    first, written, logits = replies.new_req_logits_processor(given), [], torch.randn(len(replies.tokenizer))
    for _ in range(3):
        expected = first(written, logits)
        written.append(random.Random(1).choice(expected.isfinite().nonzero().flatten().tolist()))
    assert torch.equal(replies.new_req_logits_processor(given)(written, logits), first(written, logits))


def test_a_free_request_has_no_processor(module: Any, replies: Any) -> None:
    assert replies.new_req_logits_processor(params(module, None, replies)) is None
    assert not replies.is_argmax_invariant()
