"""Constrained decoding: the tokens of real and tiny tokenizers, and the `hf` engine on tiny models."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dynamicrag_cli.adapters.engines.hf import HfEngine
from dynamicrag_cli.adapters.engines.reply_tokens import reply_vocabulary, stop_probs, weigh
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.core.engine import ChatRequest, SamplingOptions
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.grammar import Constraint, Walk
from dynamicrag_cli.core.identifiers import WELL_FORMED, format_selection, parse_selection
from dynamicrag_cli.core.prompts import Chat
from tests.conftest import ROOT

SMOLLM2 = ROOT / "models/smollm2-135m"
REQUESTS = [
    ChatRequest(f"q{number}", Chat("You choose passages.", f"Question {number}? " + "Ulm. " * number)) for number in range(12)
]
LIMITED = SamplingOptions(max_new_tokens=40)


def sentence_piece(fallback: bool = True) -> PreTrainedTokenizerFast:
    """As Llama 2 has it: a space in front of every text, single bytes for the rest, digits one by one, some longer pieces."""
    names = [f"<0x{byte:02X}>" for byte in range(256 * fallback)] + [chr(code) for code in range(33, 127) if chr(code) != "]"]
    names += ["▁", "▁[", "▁No", "No", "ne", "▁None", "</s>"]
    merges = [("▁", "["), ("N", "o"), ("n", "e"), ("▁", "No"), ("▁No", "ne")]
    inner = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=merges, byte_fallback=fallback))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", clean_up_tokenization_spaces=False)


@pytest.fixture(params=["tiny", "smollm2", "sentence-piece"])
def tokenizer(request, tiny_lm: Path):
    if request.param == "sentence-piece":
        return sentence_piece()
    if request.param == "smollm2" and not SMOLLM2.is_dir():
        pytest.skip("make demo fetches models/smollm2-135m")
    return AutoTokenizer.from_pretrained(tiny_lm if request.param == "tiny" else SMOLLM2)


@pytest.fixture(scope="module")
def engine(tiny_lm: Path) -> HfEngine:
    return HfEngine(str(tiny_lm), EngineSettings(device="cpu"))


def with_constraint(constraint: Constraint | None, requests=REQUESTS) -> list[ChatRequest]:
    return [replace(request, constraint=constraint) for request in requests]


def replies(engine: HfEngine, constraint: Constraint | None, options: SamplingOptions = LIMITED):
    return [completion for group in engine.chat(with_constraint(constraint), options) for completion in group]


def positions(completion, n: int) -> tuple[int, ...]:
    return parse_selection(completion.text, n, truncated=completion.finish_reason == "length").positions


def test_the_tokenizers_own_way_of_writing_a_list_is_allowed(tokenizer) -> None:
    """What a model is taught to write can be written, and it ends with the token that ends a turn."""
    vocabulary = reply_vocabulary(tokenizer, [tokenizer.eos_token_id])
    constraint = Constraint(12)
    for chosen in ([], [0], [0, 9], [9, 0, 11], [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]):
        walk = Walk(vocabulary, constraint, 100)
        for token in [*tokenizer(format_selection(chosen), add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]:
            assert token in walk.tokens
            walk.weigh([0.0] * len(walk.tokens))
            walk.advance(token)
        assert len(walk.stop_probs) == len(chosen) + 1


def test_any_allowed_way_decodes_to_a_well_formed_reply(tokenizer) -> None:
    end = tokenizer.eos_token_id
    vocabulary = reply_vocabulary(tokenizer, [end])
    for seed in range(200):
        rng = random.Random(seed)
        walk, written = Walk(vocabulary, Constraint(rng.randrange(15)), 60), []
        while not written or written[-1] != end:
            written.append(rng.choice(walk.tokens))
            walk.weigh([0.0] * len(walk.tokens))
            walk.advance(written[-1])
        text = tokenizer.decode(written[:-1], skip_special_tokens=True).strip()
        assert parse_selection(text, walk.constraint.n).status in WELL_FORMED, text


def test_stop_probabilities_of_a_written_reply_need_the_deciding_tokens_alone(tokenizer) -> None:
    end = tokenizer.eos_token_id
    vocabulary = reply_vocabulary(tokenizer, [end])
    for seed in range(50):
        rng = random.Random(seed)
        constraint = Constraint(rng.randrange(1, 15), stop_bias=rng.choice([0.0, 1.5]))
        walk, written, known = Walk(vocabulary, constraint, 60), [], []
        while not written or written[-1] != end:
            logits = [rng.gauss(0, 2) for _ in walk.tokens]
            known.append({token: value for token, value in zip(walk.tokens, logits, strict=True) if token in vocabulary.deciding})
            walk.weigh(logits)
            written.append(rng.choice(walk.tokens))
            walk.advance(written[-1])
        assert stop_probs(Walk(vocabulary, constraint, 60), written, known) == pytest.approx(tuple(walk.stop_probs))


def test_a_tokenizer_without_a_token_for_the_bracket() -> None:
    """The one above has no `]` but its byte; without bytes it cannot write a list."""
    tokenizer = sentence_piece(fallback=False)
    with pytest.raises(InputError, match=r"no token for '\]', .* --no-constrained"):
        reply_vocabulary(tokenizer, [tokenizer.eos_token_id])


def test_logits_of_what_may_not_come_are_minus_infinity_and_the_others_as_they_were(engine: HfEngine) -> None:
    walk = Walk(engine._vocabulary, Constraint(5), 40)
    logits = torch.randn(len(engine.tokenizer))
    weighed = weigh(walk, logits)
    assert torch.equal(weighed[walk.tokens], logits[walk.tokens])
    assert torch.isinf(weighed).sum() == len(logits) - len(walk.tokens)


@pytest.mark.parametrize("constraint", [Constraint(10), Constraint(23, 2, 4), Constraint(1), Constraint(0)])
def test_no_sample_of_a_random_model_is_malformed(engine: HfEngine, constraint: Constraint) -> None:
    drawn = SamplingOptions(n=10, temperature=1.0, top_p=0.95, max_new_tokens=30, seed=3)
    made = replies(engine, constraint, drawn)
    assert len(made) == 120
    for completion in made:
        parsed = parse_selection(completion.text, constraint.n)
        assert completion.finish_reason == "stop"
        assert parsed.status in WELL_FORMED
        assert completion.text == format_selection(parsed.positions)
        assert constraint.bounds[0] <= len(parsed.positions) <= constraint.bounds[1]
        assert len(completion.stop_probs) == len(parsed.positions) + 1
        assert all(value <= 1e-6 for value in completion.logprobs)
    if constraint.n == 10:
        assert len({completion.text for completion in made}) > 20


def test_free_samples_of_the_same_model_are_malformed(engine: HfEngine) -> None:
    made = replies(engine, None, SamplingOptions(n=4, temperature=1.0, max_new_tokens=12, seed=3))
    assert all(parse_selection(completion.text, 10).status not in WELL_FORMED for completion in made)
    assert all(completion.stop_probs is None for completion in made)


def test_constrained_and_free_requests_share_a_batch(engine: HfEngine) -> None:
    mixed = [request if number % 2 else replace(request, constraint=Constraint(9)) for number, request in enumerate(REQUESTS)]
    together = [group[0].text for group in engine.chat(mixed, LIMITED)]
    apart = [engine.chat([request], LIMITED)[0][0].text for request in mixed]
    assert together == apart
    assert together[1] == engine.chat([REQUESTS[1]], LIMITED)[0][0].text


def test_a_higher_stop_bias_reads_less(engine: HfEngine) -> None:
    means = []
    for bias in (-30.0, -4.0, 0.0, 4.0, 30.0):
        lists = [positions(completion, 9) for completion in replies(engine, Constraint(9, stop_bias=bias))]
        means.append(sum(map(len, lists)) / len(lists))
    assert means == sorted(means, reverse=True)
    assert means[0] > means[2] > means[-1] == 0


@pytest.fixture(scope="module")
def taught(tiny_lm: Path) -> HfEngine:
    """The tiny model after a few seconds of learning which list belongs to which prompt."""
    engine = HfEngine(str(tiny_lm), EngineSettings(device="cpu"))
    model, tokenizer = engine.model, engine.tokenizer
    lists = [
        format_selection(chosen) for chosen in ([1], [], [0, 2], [4, 1, 0], [9, 0], [3], [], [2, 7], [6], [5, 0, 9], [8], [0])
    ]
    rows = []
    for request, reply in zip(REQUESTS, lists, strict=True):
        (prompt,) = engine.encode([request.chat])
        rows.append((prompt, [*tokenizer(reply, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    width = max(len(prompt) + len(reply) for prompt, reply in rows)
    ids = torch.tensor([p + r + [0] * (width - len(p) - len(r)) for p, r in rows])
    labels = torch.tensor([[-100] * len(p) + r + [-100] * (width - len(p) - len(r)) for p, r in rows])
    mask = torch.tensor([[1] * (len(p) + len(r)) + [0] * (width - len(p) - len(r)) for p, r in rows])
    for _ in range(45):
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return engine


def test_a_valid_greedy_reply_is_the_same_with_and_without_the_constraint(taught: HfEngine) -> None:
    free, held = replies(taught, None), replies(taught, Constraint(10))
    valid = [number for number, made in enumerate(free) if parse_selection(made.text, 10).status in WELL_FORMED]
    assert len(valid) >= 8
    assert [held[number].text for number in valid] == [free[number].text for number in valid]
    assert len({free[number].text for number in valid}) > 3


def test_stop_probabilities_say_where_a_taught_model_stops(taught: HfEngine) -> None:
    """Above one half where it stopped, below where it went on: at every decision two kinds of token compete, one each."""
    for completion in replies(taught, Constraint(10)):
        *before, last = completion.stop_probs
        assert last > 0.5
        assert all(chance < 0.5 for chance in before)
