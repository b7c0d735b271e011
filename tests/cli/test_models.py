"""Opening engines and prompts."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.cli import models
from dynamicrag_cli.core.errors import InputError
from tests.samples import script
from tests.tiny_models import CONTROL_TOKENS


def context(**params: object) -> SimpleNamespace:
    return SimpleNamespace(params=params)


def test_options_that_are_not_set_leave_the_engines_defaults() -> None:
    made = models.engine_settings(context(device="cpu", dtype=None, batch_tokens=99, seed=3))
    assert made == EngineSettings(device="cpu", batch_tokens=99)


def test_policy_and_reader_are_one_engine_where_they_are_one_model(tmp_path: Path) -> None:
    one, two = str(script(tmp_path / "one.json")), str(script(tmp_path / "two.json"))
    for reader in (None, one):
        policy, answerer = models.open_pair(context(), "fake", one, reader)
        assert policy is answerer
    policy, answerer = models.open_pair(context(), "fake", one, two)
    assert policy is not answerer
    policy, answerer = models.open_pair(context(), "fake", None, two)
    assert policy is None
    assert answerer is not None


def test_control_tokens_of_a_tokenizer_guard_the_prompts(tiny_lm: Path) -> None:
    assert models.tokenizer_control_tokens(None) == frozenset()
    tokens = models.tokenizer_control_tokens(str(tiny_lm))
    assert tokens == set(CONTROL_TOKENS)
    prompts = models.prompts_for(None, tokens | {"@@end@@"})
    assert "@@end@@" not in prompts.reranker("who? @@end@@", []).user


def test_a_tokenizer_that_is_nowhere_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tokenizer"):
        models.tokenizer_control_tokens(str(tmp_path / "nowhere"))
