"""The `hf` engine on a tiny random model, against what transformers itself does."""

import functools
import json
import math
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from dynamicrag_cli.adapters.engines import hf
from dynamicrag_cli.adapters.engines.hf import HfEngine
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.core.engine import ChatRequest, SamplingOptions
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.prompts import Chat
from tests.tiny_models import CONTROL_TOKENS

REQUESTS = [
    ChatRequest(f"q{length}", Chat("You choose passages.", "Which town lies on the Danube? " + "Ulm and Passau do. " * length))
    for length in (3, 0, 12, 1)
]
DRAWN = SamplingOptions(n=3, temperature=1.0, top_p=0.9, max_new_tokens=6, seed=5)


@pytest.fixture(scope="module")
def engine(tiny_lm: Path) -> HfEngine:
    return HfEngine(str(tiny_lm), EngineSettings(device="cpu"))


@pytest.fixture(scope="module")
def model(tiny_lm: Path):
    return AutoModelForCausalLM.from_pretrained(tiny_lm, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer(tiny_lm: Path):
    return AutoTokenizer.from_pretrained(tiny_lm)


def prompt_ids(tokenizer, request: ChatRequest) -> list[int]:
    text = tokenizer.apply_chat_template(request.chat.messages(), tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def generated(model, tokenizer, request: ChatRequest, new: int, stops: list[int]) -> list[int]:
    ids = torch.tensor([prompt_ids(tokenizer, request)])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new, eos_token_id=stops, pad_token_id=0
    )
    return out[0, ids.shape[1] :].tolist()


def test_the_prompt_is_the_models_own_chat_template(engine: HfEngine, tokenizer) -> None:
    (ids,) = engine.encode([Chat("Be brief.", "Why?")])
    assert tokenizer.decode(ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert engine.control_tokens == {*CONTROL_TOKENS}


def test_greedy_text_is_that_of_generate(engine: HfEngine, model, tokenizer) -> None:
    groups = engine.chat(REQUESTS, SamplingOptions(max_new_tokens=15))
    for request, (completion,) in zip(REQUESTS, groups, strict=True):
        tokens = generated(model, tokenizer, request, 15, sorted(engine.stop_ids))
        assert completion.text == tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert completion.text
        assert completion.n_prompt_tokens == len(prompt_ids(tokenizer, request))
        assert completion.n_new_tokens == len(tokens)
        assert completion.finish_reason == ("stop" if tokens[-1] in engine.stop_ids else "length")
        assert completion.error is None


def watched(forward, batches: list[int]):
    """The model's forward pass, which notes how many rows it was given."""

    @functools.wraps(forward)
    def noted(**inputs):
        batches.append(len(inputs["input_ids"]))
        return forward(**inputs)

    return noted


def test_a_stop_token_ends_a_sample_and_is_no_part_of_its_text(engine: HfEngine, model, tokenizer, monkeypatch) -> None:
    """The third token of one prompt is made a stop token; the others of the batch go on."""
    full = generated(model, tokenizer, REQUESTS[0], 8, [])
    stop = full[2]
    monkeypatch.setattr(engine, "stop_ids", frozenset({stop}))
    batches = []
    monkeypatch.setattr(engine.model, "forward", watched(engine.model.forward, batches))
    groups = engine.chat(REQUESTS, SamplingOptions(max_new_tokens=8))
    # A finished sample is not computed any more.
    n_new = [len(generated(model, tokenizer, request, 8, [stop])) for request in REQUESTS]
    assert batches == [sum(n > step for n in n_new) for step in range(max(n_new))]
    assert len(set(batches)) > 1
    first = groups[0][0]
    cut = full[: full.index(stop)]
    assert (first.finish_reason, first.n_new_tokens) == ("stop", len(cut) + 1)
    assert first.text == tokenizer.decode(cut, skip_special_tokens=True).strip()
    for request, (completion,) in zip(REQUESTS, groups, strict=True):
        tokens = generated(model, tokenizer, request, 8, [stop])
        assert completion.n_new_tokens == len(tokens)


def test_log_probabilities_are_those_of_the_model(engine: HfEngine, model, tokenizer) -> None:
    (completion,) = engine.chat(REQUESTS[:1], SamplingOptions(max_new_tokens=5))[0]
    tokens = generated(model, tokenizer, REQUESTS[0], 5, sorted(engine.stop_ids))
    prompt = prompt_ids(tokenizer, REQUESTS[0])
    with torch.inference_mode():
        table = model(torch.tensor([prompt + tokens])).logits[0].log_softmax(-1)
    expected = [float(table[len(prompt) - 1 + i, token]) for i, token in enumerate(tokens)]
    assert completion.logprobs == pytest.approx(expected, abs=1e-4)


def texts(engine: HfEngine, requests: list[ChatRequest], options: SamplingOptions = DRAWN) -> list[list[str]]:
    return [[completion.text for completion in group] for group in engine.chat(requests, options)]


def test_samples_differ_by_number_key_and_seed_alone(engine: HfEngine) -> None:
    drawn = texts(engine, REQUESTS)
    assert drawn == texts(engine, REQUESTS)
    assert all(len(set(group)) > 1 for group in drawn)
    assert texts(engine, [ChatRequest("other", r.chat) for r in REQUESTS])[0] != drawn[0]
    assert texts(engine, REQUESTS, replace(DRAWN, seed=6))[0] != drawn[0]
    assert texts(engine, [ChatRequest("q3", REQUESTS[0].chat), ChatRequest("q3", REQUESTS[0].chat)]) == [drawn[0]] * 2


def test_a_sample_does_not_depend_on_the_batch(engine: HfEngine, tiny_lm: Path) -> None:
    together = texts(engine, REQUESTS)
    assert [texts(engine, [request])[0] for request in REQUESTS] == together
    assert texts(engine, REQUESTS[::-1])[::-1] == together
    small = HfEngine(str(tiny_lm), EngineSettings(device="cpu", batch_tokens=1))
    assert texts(small, REQUESTS) == together
    assert texts(engine, REQUESTS, replace(DRAWN, n=2)) == [group[:2] for group in together]


def test_n_samples_without_temperature_are_one_and_the_same(engine: HfEngine) -> None:
    (group,) = engine.chat(REQUESTS[:1], SamplingOptions(n=3, max_new_tokens=4))
    assert len(group) == 3
    assert group[0] == group[1] == group[2] == engine.chat(REQUESTS[:1], SamplingOptions(max_new_tokens=4))[0][0]


def test_tokens_are_drawn_with_the_models_probabilities_inside_the_nucleus() -> None:
    """4000 draws from a known distribution; the draws are seeded, so the test is exact on every machine."""
    chances = torch.tensor([0.5, 0.25, 0.15, 0.1])
    rows = 4000
    logits = chances.log().repeat(rows, 1)
    samplers = [hf._Gumbel(0, "key", row) for row in range(rows)]

    def shares(options: SamplingOptions) -> torch.Tensor:
        chosen, logprobs = hf._choose(logits, samplers, 0, options)
        assert torch.allclose(logprobs, chances.log()[chosen], atol=1e-5)
        return torch.bincount(chosen, minlength=4) / rows

    assert torch.allclose(shares(SamplingOptions(temperature=1.0)), chances, atol=0.03)
    # 0.5 + 0.25 reach 0.7, so the last two tokens are out and the first two share what is left.
    assert torch.allclose(shares(SamplingOptions(temperature=1.0, top_p=0.7)), torch.tensor([2 / 3, 1 / 3, 0, 0]), atol=0.03)
    cooled = (chances.log() / 0.5).softmax(-1)
    assert torch.allclose(shares(SamplingOptions(temperature=0.5)), cooled, atol=0.03)


def test_the_noise_is_gumbels_and_anew_at_every_step() -> None:
    size = 20000
    streams = [hf._Gumbel(seed, key, sample) for seed, key, sample in ((0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1))]
    draws = torch.stack([stream.noise(step, size) for stream in streams for step in range(3)])
    assert torch.allclose(draws.mean(dim=1), torch.tensor(0.5772), atol=0.05)
    assert torch.allclose(draws.std(dim=1), torch.tensor(1.2825), atol=0.05)
    between = torch.corrcoef(draws) - torch.eye(len(draws))
    assert between.abs().max() < 0.05
    assert torch.equal(streams[0].noise(1, size), draws[1])
    # Nor is one step the other, shifted.
    assert not {*draws[0].tolist()} & {*draws[1].tolist()[:100]}


def test_the_nucleus_always_holds_the_likeliest_token() -> None:
    logits = torch.tensor([[0.0, 5.0, 1.0]])
    assert hf._nucleus(logits, 0.01).argmax() == 1
    assert torch.isinf(hf._nucleus(logits, 0.01)).sum() == 2
    assert torch.equal(hf._nucleus(logits, 1.0), logits)


@pytest.mark.parametrize(
    "continuations", [["Yes", "No"], ["Yes", "Danube Ulm 17", " the river"]], ids=["one-token", "many-tokens"]
)
def test_scores_are_log_softmax_sums(engine: HfEngine, tiny_lm: Path, model, tokenizer, continuations: list[str]) -> None:
    tails = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in continuations]
    assert all(len(tail) == 1 for tail in tails) == (continuations == ["Yes", "No"])
    expected = []
    for request in REQUESTS:
        prompt = prompt_ids(tokenizer, request)
        row = []
        for tail in tails:
            with torch.inference_mode():
                table = model(torch.tensor([prompt + tail])).logits[0].log_softmax(-1)
            row.append(sum(float(table[len(prompt) - 1 + i, token]) for i, token in enumerate(tail)))
        expected.append(row)
    small = HfEngine(str(tiny_lm), EngineSettings(device="cpu", batch_tokens=1))
    for found in (engine.score(REQUESTS, continuations), small.score(REQUESTS, continuations)):
        assert [value for row in found for value in row] == pytest.approx([v for row in expected for v in row], abs=1e-3)


def test_a_prompt_over_the_context_is_an_error_and_the_others_are_answered(tiny_lm: Path) -> None:
    short = HfEngine(str(tiny_lm), EngineSettings(device="cpu", max_model_len=70))
    groups = short.chat(REQUESTS, SamplingOptions(n=2, max_new_tokens=5))
    fits = [group[0].n_prompt_tokens + 5 <= 70 for group in groups]
    assert any(fits)
    assert not all(fits)
    for group, fit in zip(groups, fits, strict=True):
        assert len(group) == 2
        assert all((c.error is None) == fit for c in group)
        assert all(c.finish_reason == "error" and "exceeds the context of 70" in c.error for c in group if not fit)


def test_nothing_asked_is_nothing_answered(engine: HfEngine) -> None:
    assert engine.chat([], SamplingOptions()) == []
    assert engine.score([], ["Yes", "No"]) == []


def copied(tiny_lm: Path, folder: Path) -> Path:
    return Path(shutil.copytree(tiny_lm, folder / "lm"))


def test_a_tokenizer_without_a_chat_template_is_an_input_error(tiny_lm: Path, tmp_path: Path) -> None:
    folder = copied(tiny_lm, tmp_path)
    (folder / "chat_template.jinja").unlink()
    (folder / "model.safetensors").unlink()  # It is told before minutes go into loading the weights.
    with pytest.raises(InputError, match="no chat template"):
        HfEngine(str(folder), EngineSettings(device="cpu"))


def test_a_context_longer_than_the_models_is_refused(tiny_lm: Path) -> None:
    longest = AutoConfig.from_pretrained(tiny_lm).max_position_embeddings
    assert HfEngine(str(tiny_lm), EngineSettings(device="cpu", max_model_len=longest)).max_tokens == longest
    assert HfEngine(str(tiny_lm), EngineSettings(device="cpu")).max_tokens == longest
    with pytest.raises(UsageError, match=f"--max-model-len {longest + 1} is more than the {longest} tokens"):
        HfEngine(str(tiny_lm), EngineSettings(device="cpu", max_model_len=longest + 1))


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


@pytest.mark.parametrize(
    "damage",
    [
        shutil.rmtree,
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text(json.dumps({"model_type": "no-such-type"})),
        lambda folder: (folder / "model.safetensors").unlink(),
        cut_weights,
    ],
    ids=["gone", "broken-config", "unknown-type", "no-weights", "cut-weights"],
)
def test_a_folder_that_is_no_model_is_an_input_error(tiny_lm: Path, tmp_path: Path, damage) -> None:
    folder = copied(tiny_lm, tmp_path)
    damage(folder)
    with pytest.raises(InputError, match="model"):
        HfEngine(str(folder), EngineSettings(device="cpu"))


def test_stop_tokens_are_those_of_tokenizer_and_generation_config(tiny_lm: Path, tmp_path: Path, tokenizer) -> None:
    folder = copied(tiny_lm, tmp_path)
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": [0, 7]}))
    ids = HfEngine(str(folder), EngineSettings(device="cpu")).stop_ids
    assert ids == {0, 7, tokenizer.convert_tokens_to_ids("<|im_end|>")}


def test_scoring_a_prompt_over_the_context_does_not_pass_in_silence(tiny_lm: Path) -> None:
    short = HfEngine(str(tiny_lm), EngineSettings(device="cpu", max_model_len=64))
    long = ChatRequest("long", Chat("s", "Danube " * 80))
    fits = HfEngine(str(tiny_lm), EngineSettings(device="cpu")).score([REQUESTS[0]], ["Yes", "No"])
    (over, under) = short.score([long, ChatRequest("x", Chat("s", "u"))], ["Yes", "No"])
    assert all(math.isnan(value) for value in over)
    assert all(value < 0 for value in [*under, *fits[0]])


def test_a_request_hears_its_reply_grow_and_gets_the_same_one(engine: HfEngine) -> None:
    heard: dict[str, list[str]] = {request.key: [] for request in REQUESTS[:2]}
    asked = [replace(request, on_text=heard[request.key].append) for request in REQUESTS[:2]]
    options = SamplingOptions(max_new_tokens=6)
    groups = engine.chat(asked, options)
    assert groups == engine.chat(REQUESTS[:2], options)
    for request, (completion,) in zip(REQUESTS[:2], groups, strict=True):
        pieces = heard[request.key]
        assert pieces[-1].strip() == completion.text
        assert len(pieces) == completion.n_new_tokens - (completion.finish_reason == "stop") > 1
        assert all(len(later) >= len(earlier) for earlier, later in pairwise(pieces))
