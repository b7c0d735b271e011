"""The `vllm` engine over a stand-in for vLLM: what is submitted, what comes of it; vLLM itself is in tests/test_vllm.py."""

import importlib
import math
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.core.engine import ChatRequest, SamplingOptions
from dynamicrag_cli.core.errors import EngineError, InputError
from dynamicrag_cli.core.grammar import Constraint
from dynamicrag_cli.core.prompts import Chat

REQUESTS = [ChatRequest(name, Chat("s", text)) for name, text in (("a", "Why?"), ("long", "word " * 90), ("b", "How?"))]


class DeadError(Exception):
    pass


class Llm:
    """Replies with the number of the prompt among those submitted; the log-probability of a token is minus its id."""

    def __init__(self, **settings: Any) -> None:
        if settings["model"] == "hub/broken":
            raise ValueError("no such model")
        self.settings, self.submitted = settings, []
        self.ended: list[bool] = []
        self.deaf = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        core = SimpleNamespace(shutdown=lambda: self.ended.append(True))
        context = SimpleNamespace(max_model_len=settings["max_model_len"] or 100)
        context.try_get_generation_config = lambda: {"eos_token_id": [0, 2]}
        self.llm_engine = SimpleNamespace(model_config=context, engine_core=core)

    def get_tokenizer(self) -> Any:
        return AutoTokenizer.from_pretrained(self.settings["model"])

    def generate(self, prompts: list[dict], params: Any, *, use_tqdm: bool) -> list[Any]:
        self.submitted.append((prompts, params))
        each = params if isinstance(params, list) else [params] * len(prompts)
        made = []
        for number, (prompt, param) in enumerate(zip(prompts, each, strict=True)):
            samples = [
                SimpleNamespace(text=f" {number}.{i} ", finish_reason="stop", token_ids=[1, 2])
                for i in range(getattr(param, "n", 1))
            ]
            places = [None, *({token: SimpleNamespace(logprob=-float(token))} for token in prompt["prompt_token_ids"][1:])]
            made.append(SimpleNamespace(outputs=samples, prompt_logprobs=places))
        return made


@pytest.fixture
def engine(tiny_lm: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    stand_in = ModuleType("vllm")
    stand_in.LLM, stand_in.TokensPrompt = Llm, dict
    stand_in.SamplingParams = SimpleNamespace
    exceptions = ModuleType("vllm.v1.engine.exceptions")
    exceptions.EngineDeadError = DeadError
    monkeypatch.setitem(sys.modules, "vllm", stand_in)
    processors = ModuleType("vllm.v1.sample.logits_processor")
    processors.AdapterLogitsProcessor = object
    monkeypatch.setitem(sys.modules, processors.__name__, processors)
    monkeypatch.delitem(sys.modules, "dynamicrag_cli.adapters.engines.vllm_constraint", raising=False)
    for name in ("vllm.v1", "vllm.v1.engine", "vllm.v1.sample"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "vllm.v1.engine.exceptions", exceptions)
    monkeypatch.setenv("VLLM_CPU_NUM_OF_RESERVED_CPU", "")  # so that what the engine sets is taken back
    monkeypatch.delenv("VLLM_CPU_NUM_OF_RESERVED_CPU")
    monkeypatch.delitem(sys.modules, "dynamicrag_cli.adapters.engines.vllm", raising=False)
    module = importlib.import_module("dynamicrag_cli.adapters.engines.vllm")
    monkeypatch.setitem(sys.modules, "dynamicrag_cli.adapters.engines.vllm", module)
    return lambda model=str(tiny_lm), **settings: module.VllmEngine(model, EngineSettings(**settings))


def test_a_chunk_is_submitted_at_once_without_the_prompts_that_do_not_fit(engine) -> None:
    made = engine(gpus=2)
    groups = made.chat(REQUESTS, SamplingOptions(n=2, temperature=0.5, top_p=0.9, max_new_tokens=10, seed=3))
    ((prompts, params),) = made.llm.submitted
    assert len(prompts) == 2
    assert [[c.text for c in group] for group in groups] == [["0.0", "0.1"], ["", ""], ["1.0", "1.1"]]
    assert "exceeds the context of 100" in groups[1][0].error
    assert (params[0].n, params[0].temperature, params[0].top_p, params[0].max_tokens) == (2, 0.5, 0.9, 10)
    assert params[0].seed != params[1].seed
    assert made.llm.settings["tensor_parallel_size"] == 2
    assert groups[0][0].n_prompt_tokens == len(prompts[0]["prompt_token_ids"])
    ended = made.llm.ended
    made.close()
    assert ended == [True]


def test_greedy_samples_are_asked_for_once(engine) -> None:
    """vLLM refuses several of them."""
    made = engine()
    groups = made.chat([REQUESTS[0], REQUESTS[2]], SamplingOptions(n=3))
    ((_, params),) = made.llm.submitted
    assert [param.n for param in params] == [1, 1]
    assert [[c.text for c in group] for group in groups] == [["0.0"] * 3, ["1.0"] * 3]


def test_a_constraint_goes_with_its_request_and_the_tokens_that_end_a_reply(engine) -> None:
    made = engine()
    made.chat([REQUESTS[0], replace(REQUESTS[2], constraint=Constraint(7, 1, 3, 0.5))], SamplingOptions())
    ((_, (free, held)),) = made.llm.submitted
    assert free.extra_args is None
    expected = {"n": 7, "min_k": 1, "max_k": 3, "stop_bias": 0.5, "ends": [0, 2]}
    assert held.extra_args == {"drag_constraint": expected}
    assert made.tokenizer.eos_token_id == 2
    assert made.llm.settings["logits_processors"] == ["dynamicrag_cli.adapters.engines.vllm_constraint:ConstrainedReplies"]


class Telling(SimpleNamespace):
    """Sampling parameters of a vLLM that tells the log-probabilities of tokens that are named to it."""

    logprob_token_ids = None


def test_replies_of_one_token_are_scored_by_reading_a_prompt_once(engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine()
    monkeypatch.setattr(sys.modules["dynamicrag_cli.adapters.engines.vllm"], "SamplingParams", Telling)
    asked = []

    def generate(prompts: list[list[int]], params: Any) -> list[Any]:
        asked.append(len(prompts))
        place = {token: SimpleNamespace(logprob=-token / 8) for token in params.logprob_token_ids}
        return [SimpleNamespace(outputs=[SimpleNamespace(logprobs=[place])]) for _ in prompts]

    monkeypatch.setattr(made, "_generate", generate)
    one, other = (made.tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in ("N", "["))
    first, long, last = made.score(REQUESTS, ["N", "["])
    assert first == last == [-one / 8, -other / 8]
    assert all(map(math.isnan, long))
    assert asked == [2]


def test_the_probabilities_of_stopping_are_told_with_a_constrained_reply(engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine()
    monkeypatch.setattr(sys.modules["dynamicrag_cli.adapters.engines.vllm"], "SamplingParams", Telling)
    written = [*made.tokenizer("[3]", add_special_tokens=False)["input_ids"], made.tokenizer.eos_token_id]
    place = {token: SimpleNamespace(logprob=-3.0) for token in made._vocabulary.deciding}
    sample = SimpleNamespace(text="[3]", finish_reason="stop", token_ids=written, logprobs=[place] * len(written))
    monkeypatch.setattr(made, "_generate", lambda prompts, params: [SimpleNamespace(outputs=[sample]) for _ in prompts])
    held = replace(REQUESTS[0], constraint=Constraint(7))
    ((free,), (told,)) = made.chat([REQUESTS[2], held], SamplingOptions())
    assert free.stop_probs is None
    assert len(told.stop_probs) == 2
    assert all(0 < chance < 1 for chance in told.stop_probs)
    assert made._params(held, SamplingOptions()).logprob_token_ids == list(made._vocabulary.deciding)
    assert made._params(REQUESTS[2], SamplingOptions()).logprob_token_ids is None
    vars(made).pop("_deciding")
    monkeypatch.setattr(sys.modules["dynamicrag_cli.adapters.engines.vllm"], "_MOST_TOLD", 1)
    assert made.chat([held], SamplingOptions())[0][0].stop_probs is None


def test_a_seed_depends_on_run_seed_and_key_alone(engine) -> None:
    made = engine()
    made.chat(REQUESTS, SamplingOptions(seed=3))
    made.chat(REQUESTS[2:], SamplingOptions(seed=3))
    made.chat(REQUESTS[2:], SamplingOptions(seed=4))
    seeds = [params[-1].seed for _, params in made.llm.submitted]
    assert seeds[0] == seeds[1] != seeds[2]


def test_scores_are_sums_over_the_continuations_tokens(engine) -> None:
    made = engine()
    short = [REQUESTS[0], REQUESTS[2]]
    tails = [made.tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("Yes", "Danube 17")]
    assert made.score(short, ["Yes", "Danube 17"]) == [[-float(sum(tail)) for tail in tails]] * 2


def test_a_prompt_over_the_context_has_no_score(engine) -> None:
    (long, short) = engine().score([REQUESTS[1], REQUESTS[0]], ["Yes", "No"])
    assert all(math.isnan(value) for value in long)
    assert all(value < 0 for value in short)


@pytest.mark.parametrize("cuda", [True, False])
def test_without_a_gpu_it_takes_little_memory_and_every_core(engine, monkeypatch: pytest.MonkeyPatch, cuda: bool) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    settings = engine(memory_share=0.5).llm.settings
    assert (settings["dtype"], settings.get("kv_cache_memory_bytes")) == (("auto", None) if cuda else ("float32", 2 << 30))
    assert os.environ.get("VLLM_CPU_NUM_OF_RESERVED_CPU") == (None if cuda else "0")
    assert engine(dtype="bfloat16").llm.settings["dtype"] == "bfloat16"


def test_what_is_set_for_the_cpu_is_kept(engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("VLLM_CPU_NUM_OF_RESERVED_CPU", "1")
    engine()
    assert os.environ["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "1"


def test_vllms_processes_do_not_hear_ctrl_c_and_this_one_does(engine) -> None:
    """They inherit what is blocked while they are started; else the chunk in hand would be lost."""
    assert signal.SIGINT in engine().llm.deaf
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_process_that_dies_is_an_engine_error(engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine()

    def die(*_prompts: object, **_params: object) -> None:
        raise DeadError

    monkeypatch.setattr(made.llm, "generate", die)
    with pytest.raises(EngineError, match="the same command goes on"):
        made.chat(REQUESTS, SamplingOptions())


def test_a_model_without_a_chat_template_is_an_input_error(engine, tiny_lm: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_lm, tmp_path / "lm")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        engine(model=str(folder))


def test_a_model_that_cannot_be_loaded_is_an_engine_error(engine) -> None:
    with pytest.raises(EngineError, match="no such model"):
        engine(model="hub/broken")


def test_a_pinned_hub_model_is_pinned_in_weights_tokenizer_and_code(engine, tiny_lm: Path) -> None:
    sha = "0" * 40
    local = engine(revision=sha, trust_remote_code=True).llm.settings
    assert (local["trust_remote_code"], "revision" in local) == (False, False)
    assert engine().llm.settings["trust_remote_code"] is False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Llm, "get_tokenizer", lambda self: AutoTokenizer.from_pretrained(tiny_lm))
        remote = engine(model="org/m", revision=sha, trust_remote_code=True).llm.settings
    assert {remote[name] for name in ("revision", "tokenizer_revision", "code_revision")} == {sha}
    assert remote["trust_remote_code"] is True
