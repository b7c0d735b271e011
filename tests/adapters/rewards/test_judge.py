"""The judge: a grade in [0, 1], null on every kind of failure, and no answer graded twice."""

from pathlib import Path

import pytest

from dynamicrag_cli.adapters.engines.fake import FakeEngine
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.adapters.files.templates import load_prompts
from dynamicrag_cli.adapters.rewards.judge import Judge
from dynamicrag_cli.core.engine import ChatRequest
from dynamicrag_cli.core.records import SampledQuestion
from tests.samples import script


def asked(name: str) -> SampledQuestion:
    return SampledQuestion(id=name, question=f"Question {name}?", answers=["Ulm", "Neu-Ulm"], dataset="qa", docs=[], rollouts=[])


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    replies = {
        "GOOD": ["Score: 85"],
        "FULL": ["100"],
        "ZERO": ["0"],
        "WORDS": ["a fine answer"],
        "DOWN": {"error": "boom"},
        "OVER": ["140"],
    }
    return Judge(FakeEngine(str(script(tmp_path / "s.json", default="", **replies)), EngineSettings()), load_prompts(None))


def watched(judge: Judge) -> list[ChatRequest]:
    """The requests that the judge will make."""
    seen: list[ChatRequest] = []
    real = judge.engine.chat
    judge.engine.chat = lambda requests, options: (seen.extend(requests), real(requests, options))[1]
    return seen


def test_grades_are_brought_to_the_unit_interval_and_failures_are_null(judge: Judge) -> None:
    answers = ["GOOD", "FULL", "ZERO", "WORDS", "DOWN", "OVER", "nothing"]
    assert judge([(asked("a"), answer) for answer in answers]) == [0.85, 1.0, 0.0, None, None, None, None]


def test_equal_answers_to_one_question_are_graded_once(judge: Judge) -> None:
    jobs = [(asked("a"), "GOOD"), (asked("b"), "GOOD"), (asked("a"), "GOOD"), (asked("a"), "ZERO")]
    seen = watched(judge)
    assert judge(jobs) == [0.85, 0.85, 0.85, 0.0]
    assert len(seen) == 3


def test_the_prompt_holds_question_references_and_answer(judge: Judge) -> None:
    seen = watched(judge)
    judge([(asked("a"), "an [1] answer")])
    (request,) = seen
    assert all(text in request.chat.user for text in ("Question a?", "- Ulm", "- Neu-Ulm", "an (1) answer"))


def test_nothing_to_grade(judge: Judge) -> None:
    assert judge([]) == []
