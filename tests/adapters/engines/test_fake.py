"""The `fake` engine, which other tests stand on."""

from pathlib import Path

import pytest

from dynamicrag_cli.adapters.engines.fake import FakeEngine
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.core.engine import ChatRequest, SamplingOptions
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.prompts import Chat
from tests.samples import script


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    rules = {"BAD": {"error": "boom"}, "many": ["one", "two"], "scored": {"replies": ["x"], "scores": {"Yes": -1.0}}}
    return FakeEngine(str(script(tmp_path / "s.json", default="None", **rules)), EngineSettings())


def ask(*texts: str) -> list[ChatRequest]:
    return [ChatRequest(text, Chat("system", text)) for text in texts]


def test_rules_answer_in_turn_and_the_rest_gets_the_default(engine: FakeEngine) -> None:
    groups = engine.chat(ask("many", "else"), SamplingOptions(n=3, temperature=1.0))
    assert [[c.text for c in group] for group in groups] == [["one", "two", "one"], ["None"] * 3]
    assert [c.text for c in engine.chat(ask("many"), SamplingOptions(n=2))[0]] == ["one", "one"]


def test_errors_and_cut_replies(engine: FakeEngine) -> None:
    ((failed,),) = engine.chat(ask("BAD"), SamplingOptions())
    assert (failed.error, failed.finish_reason) == ("boom", "error")
    ((cut,),) = engine.chat(ask("many"), SamplingOptions(max_new_tokens=0))
    assert cut.finish_reason == "length"


def test_scores_are_scripted_or_fixed(engine: FakeEngine) -> None:
    first, second = engine.score(ask("scored", "else"), ["Yes", "No"])
    assert first[0] == -1.0
    assert second == engine.score(ask("else"), ["Yes", "No"])[0]
    assert second[0] != second[1]


@pytest.mark.parametrize("text", [None, "not json"])
def test_a_script_that_cannot_be_read_is_an_input_error(tmp_path: Path, text: str | None) -> None:
    if text:
        (tmp_path / "s.json").write_text(text)
    with pytest.raises(InputError, match="JSON script"):
        FakeEngine(str(tmp_path / "s.json"), EngineSettings())
