"""The policy's weights: scores of a tiny cross-encoder, and the note beside them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamicrag_cli.adapters.rrpo.scorer import NOTE, CrossEncoderScorer, Policy, load_cross_encoder, read_note
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.policy import Bounds
from tests.builders import retrieved
from tests.tiny_models import build_tiny_cross_encoder

RECORDS = [retrieved("abcde"), retrieved("", id="q-2"), retrieved("fg", id="q-3", question="Another question?")]


@pytest.fixture
def scorer(tiny_cross_encoder: Path) -> CrossEncoderScorer:
    return CrossEncoderScorer(load_cross_encoder("model", str(tiny_cross_encoder), "cpu"), batch_size=3)


def test_scores_are_the_logits_of_every_candidate_in_order(scorer: CrossEncoderScorer) -> None:
    made = scorer(RECORDS)
    assert [len(values) for values in made] == [5, 0, 2]
    for record, values in zip(RECORDS, made, strict=True):
        for doc, value in zip(record.docs, values, strict=True):
            expected = scorer.model.predict([(record.question, f"{doc.title} {doc.text}")], activation_fn=torch.nn.Identity())
            assert value.item() == pytest.approx(float(expected[0]), abs=1e-5)
    assert [len(values) for values in scorer(RECORDS[1:2])] == [0]


def test_scores_have_gradients_and_no_dropout(scorer: CrossEncoderScorer) -> None:
    first, again = scorer(RECORDS[:1])[0], scorer(RECORDS[:1])[0]
    assert torch.equal(first, again)
    first.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in scorer.parameters())


def test_a_saved_scorer_scores_the_same(scorer: CrossEncoderScorer, tmp_path: Path) -> None:
    scorer.save(tmp_path)
    again = CrossEncoderScorer(load_cross_encoder("model", str(tmp_path), "cpu"))
    assert torch.allclose(again(RECORDS)[0], scorer(RECORDS)[0], atol=1e-5)


def test_long_passages_are_cut_and_the_cut_is_saved(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    model = load_cross_encoder("model", str(tiny_cross_encoder), "cpu", 16)
    CrossEncoderScorer(model).save(tmp_path)
    assert load_cross_encoder("model", str(tmp_path), "cpu").max_seq_length == 16
    long, longer = (model.preprocess([("Why?", "word " * n)])["input_ids"] for n in (50, 60))
    assert torch.equal(long, longer)
    assert long.shape[1] <= 16


def test_models_that_are_no_cross_encoder(tmp_path: Path, tiny_encoder: Path) -> None:
    three = build_tiny_cross_encoder(tmp_path / "three", outputs=3)
    for name, words in ((three, "has 3 outputs"), (tiny_encoder, "drag train reranker"), (tmp_path / "no", "no such model")):
        with pytest.raises(InputError, match=words):
            load_cross_encoder("model", str(name), "cpu")


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = build_tiny_cross_encoder(tmp_path / "model")
    for change, words in ((lambda t: setattr(t, "pad_token", None), "no padding token"),
                          (lambda t: t.add_tokens([f"word{n}" for n in range(5000)]), "it is another model's")):  # fmt: skip
        tokenizer = AutoTokenizer.from_pretrained(build_tiny_cross_encoder(tmp_path / "model"))
        change(tokenizer)
        tokenizer.save_pretrained(folder)
        with pytest.raises(InputError, match=words):
            load_cross_encoder("reference", str(folder), "cpu")


def test_a_policy_has_a_stop_per_step_if_it_stops(scorer: CrossEncoderScorer) -> None:
    policy = Policy(scorer, Bounds(0, 3), [1.0, 2.0], temperature=2.0)
    assert policy.stops().tolist() == [0.5, 1.0, 1.0]
    assert policy.note() == {"k": "0:3", "stop": [1.0, 2.0, 2.0], "temperature": 2.0}
    assert torch.allclose(policy.scores(RECORDS[:1])[0] * 2, scorer(RECORDS[:1])[0])
    assert Policy(scorer, Bounds(3, 3)).note() == {"k": "3", "stop": [], "temperature": 1.0}


def test_a_policy_starts_its_stop_on_the_references_scores_unless_one_is_given(scorer: CrossEncoderScorer) -> None:
    given, free = (Policy(scorer, Bounds(0, 2), stop, temperature=2.0) for stop in ([1.0], None))
    for policy in (given, free):
        policy.balance([scores.detach().double().numpy() for scores in policy.scores(RECORDS)])
    assert given.stop.tolist() == [1.0, 1.0]
    first = free.stop.tolist()
    assert first[0] != first[1]
    free.balance([np.zeros(9)])
    assert free.stop.tolist() == first  # once


def test_the_stop_lies_where_the_scorer_does() -> None:
    scorer = torch.nn.Linear(1, 1, device="meta")
    assert Policy(scorer, Bounds(0, 2)).stop.device == scorer.weight.device


def test_the_note_is_read_again(tmp_path: Path) -> None:
    assert read_note(str(tmp_path)) == {}
    note = {"k": "0:3", "stop": [1.0, 2.0, 2.0], "temperature": 2.0}
    (tmp_path / NOTE).write_text(json.dumps({**note, "passage_cost": 0.1}))
    assert read_note(str(tmp_path)) == note


@pytest.mark.parametrize("text", ["{", "[]", '{"k": "0:3"}', '{"k": "x", "stop": [], "temperature": 1}'])
def test_a_note_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / NOTE).write_text(text)
    with pytest.raises(InputError, match="not written by drag train rrpo"):
        read_note(str(tmp_path))
