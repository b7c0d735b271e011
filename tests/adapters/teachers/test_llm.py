"""The LLM teacher: P(Yes) against P(No), scripted and from a tiny model."""

import math
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.engines.fake import FakeEngine
from dynamicrag_cli.adapters.engines.hf import HfEngine
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.adapters.files.templates import load_prompts
from dynamicrag_cli.adapters.teachers.llm import LlmTeacher
from dynamicrag_cli.core.engine import ChatRequest
from dynamicrag_cli.core.records import Candidate
from tests.samples import script

PAIRS = [("Which town?", "Ulm", "On the Danube."), ("Which town?", "Io", "A moon [2] with volcanoes.")]


def scripted(folder: Path, **scores: dict[str, float]) -> LlmTeacher:
    rules = {text: {"replies": [""], "scores": values} for text, values in scores.items()}
    return LlmTeacher(FakeEngine(str(script(folder / "s.json", **rules)), EngineSettings()), load_prompts(None))


def test_relevance_is_the_share_of_yes(tmp_path: Path) -> None:
    teacher = scripted(tmp_path, Ulm={"Yes": math.log(0.6), "No": math.log(0.2)}, Io={"Yes": math.log(0.1), "No": math.log(0.3)})
    assert teacher.relevance(PAIRS) == pytest.approx([0.75, 0.25])


def test_a_tiny_models_logits_are_used(tiny_lm: Path) -> None:
    engine = HfEngine(str(tiny_lm), EngineSettings(device="cpu"))
    prompts = load_prompts(None, engine.control_tokens)
    chats = [prompts.relevance(q, Candidate(id="x", title=title, text=text)) for q, title, text in PAIRS]
    expected = [
        math.exp(y) / (math.exp(y) + math.exp(n)) for y, n in engine.score([ChatRequest("", c) for c in chats], ["Yes", "No"])
    ]
    assert LlmTeacher(engine, prompts).relevance(PAIRS) == pytest.approx(expected, abs=1e-6)
    assert "(2)" in chats[1].user


def test_a_sure_model_is_no_overflow(tmp_path: Path) -> None:
    assert scripted(tmp_path, Ulm={"Yes": -900.0, "No": -0.1}).relevance(PAIRS[:1]) == [0.0]


def test_nothing_to_score(tmp_path: Path) -> None:
    assert scripted(tmp_path).relevance([]) == []
