"""Opening engines and prompts."""

import atexit
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.cli import models
from dynamicrag_cli.cli.models import Closing
from dynamicrag_cli.core.errors import InputError
from tests.samples import question, script, write
from tests.tiny_models import CONTROL_TOKENS


def context(**params: object) -> SimpleNamespace:
    return SimpleNamespace(params=params)


def test_options_that_are_not_set_leave_the_engines_defaults() -> None:
    made = models.engine_settings(context(device="cpu", dtype=None, batch_tokens=99, concurrency=64, timeout_s=9.5, seed=3))
    assert made == EngineSettings(device="cpu", batch_tokens=99, concurrency=64, timeout_s=9.5)


def test_policy_and_reader_are_one_engine_where_they_are_one_model(tmp_path: Path) -> None:
    one, two = str(script(tmp_path / "one.json")), str(script(tmp_path / "two.json"))
    kept: list[Callable[[], None]] = []
    for reader in (None, one):
        policy, answerer = models.open_pair(EngineSettings(), Closing(kept.append), "fake", one, reader)
        assert policy is answerer
    policy, answerer = models.open_pair(EngineSettings(), Closing(kept.append), "fake", one, two)
    assert policy is not answerer
    policy, answerer = models.open_pair(EngineSettings(), Closing(kept.append), "fake", None, two)
    assert policy is None
    assert answerer is not None
    assert len(kept) == 5


def test_in_another_process_engines_are_closed_with_that_process() -> None:
    sent = pickle.loads(pickle.dumps(Closing([].append)))
    assert sent.register is atexit.register


@pytest.mark.parametrize(("reader", "n_closed", "code"), [(None, 1, 0), ("two.json", 2, 0), ("gone.json", 1, 4)])
def test_models_are_closed_however_a_command_ends(
    drag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str | None, n_closed: int, code: int
) -> None:
    closed: list[object] = []

    def close(engine: object) -> None:
        closed.append(engine)

    monkeypatch.setattr("dynamicrag_cli.adapters.engines.fake.FakeEngine.close", close)
    source, one = write(tmp_path / "in.jsonl", [question(1)]), script(tmp_path / "one.json")
    script(tmp_path / "two.json")
    more = ["--reader", tmp_path / reader] if reader else []
    done = drag("sample", source, "-o", tmp_path / "out.jsonl", "--engine", "fake", "--model", one, *more)
    assert done.code == code, done.err
    assert len({id(engine) for engine in closed}) == len(closed) == n_closed


def test_control_tokens_of_a_tokenizer_guard_the_prompts(tiny_lm: Path) -> None:
    assert models.tokenizer_control_tokens(None) == frozenset()
    tokens = models.tokenizer_control_tokens(str(tiny_lm))
    assert tokens == set(CONTROL_TOKENS)
    prompts = models.prompts_for(None, tokens | {"@@end@@"})
    assert "@@end@@" not in prompts.reranker("who? @@end@@", []).user


def test_a_tokenizer_that_is_nowhere_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tokenizer"):
        models.tokenizer_control_tokens(str(tmp_path / "nowhere"))


def test_trust_without_a_commit_is_refused_before_any_work(drag, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1)])
    for command in ("sample", "infer"):
        for extra in (["--trust-remote-code"], ["--trust-remote-code", "--revision", "main"], ["--revision", "v2"]):
            done = drag(command, source, "-o", tmp_path / "out.jsonl", "--model", "org/m", *extra)
            assert (done.code, done.error) == (2, None)
            assert "--revision" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_an_address_with_a_password_is_refused(drag, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1)])
    done = drag("sample", source, "--model", "m", "--engine", "openai", "--base-url", "http://me:secret@127.0.0.1/v1")
    assert done.code == 2
    assert "OPENAI_API_KEY" in done.err
