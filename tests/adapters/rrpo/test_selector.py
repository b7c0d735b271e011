"""Selectors with a model of their own, against the scores of the model."""

import json
from pathlib import Path

import numpy as np
import pytest

from dynamicrag_cli.adapters.rrpo.scorer import CrossEncoderScorer, load_cross_encoder
from dynamicrag_cli.adapters.rrpo.selector import ModelSelector
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.selectors import parse_selector
from tests.builders import retrieved

RECORD = retrieved("abcdef")


@pytest.fixture
def model(tmp_path: Path, tiny_cross_encoder: Path) -> Path:
    CrossEncoderScorer(load_cross_encoder("model", str(tiny_cross_encoder), "cpu")).save(tmp_path / "rrpo")
    return tmp_path / "rrpo"


def scores(model: Path) -> list[float]:
    return CrossEncoderScorer(load_cross_encoder("model", str(model), "cpu"))([RECORD])[0].tolist()


def choose(model: Path, selector: str, bias: float = 0.0) -> tuple[int, ...]:
    (made,) = ModelSelector(parse_selector(selector), str(model), "cpu", bias)([RECORD])
    return made


def note(model: Path, k: str, *stop: float, temperature: float = 1.0) -> None:
    (model / "rrpo.json").write_text(json.dumps({"k": k, "stop": stop, "temperature": temperature}))


def test_the_first_of_the_scores(model: Path) -> None:
    values = scores(model)
    order = tuple(sorted(range(6), key=lambda place: -values[place]))
    assert choose(model, "cross-encoder:3") == order[:3]
    assert choose(model, "cross-encoder:99") == order


def test_those_of_a_relevance(model: Path) -> None:
    values = scores(model)
    order = tuple(sorted(range(6), key=lambda place: -values[place]))
    assert choose(model, "cross-encoder:threshold=0") == order
    assert choose(model, "cross-encoder:threshold=1") == ()
    expected = tuple(place for place in order if values[place] >= 0)
    assert choose(model, "cross-encoder:threshold=0.5") == expected


def test_one_checkpoint_answers_at_any_cost(model: Path) -> None:
    note(model, "0:4", 0.0, 0.0, 0.0, 0.0, temperature=2.0)
    lengths = [len(choose(model, "rrpo", bias)) for bias in (-50, -2, 0, 2, 50)]
    assert lengths == sorted(lengths, reverse=True)
    assert (lengths[0], lengths[-1]) == (4, 0)
    assert len(choose(model, "rrpo:2:4", 50)) == 2
    with pytest.raises(UsageError, match="reads 3 passages of every question"):
        choose(model, "rrpo:3", 50)


def test_the_stop_bias_is_added_to_the_log_odds_whatever_the_temperature(model: Path) -> None:
    """Log-odds of STOP before the first passage: b / T - log sum exp of the scores over T."""
    for heat in (0.5, 2.0):
        note(model, "0:1", 0.4, temperature=heat)
        even = np.logaddexp.reduce(np.array(scores(model)) / heat) - 0.4 / heat
        assert [len(choose(model, "rrpo", even + more)) for more in (-0.01, 0.01)] == [1, 0]


def test_a_fixed_k_takes_the_first(model: Path) -> None:
    note(model, "2")
    assert choose(model, "rrpo") == choose(model, "cross-encoder:2")
    assert len(choose(model, "rrpo:4")) == 4
    with pytest.raises(InputError, match="has no stop"):
        choose(model, "rrpo:0:4")


def test_a_model_that_rrpo_did_not_make(model: Path) -> None:
    with pytest.raises(InputError, match="use --selector cross-encoder:K"):
        choose(model, "rrpo")
