"""A table of scores as policy, and a reader that wants two passages first and fears a distractor: a world small enough to learn in."""

import re

import torch

from dynamicrag_cli.adapters.engines.cached import MEMORY, CachedEngine, ReplyCache
from dynamicrag_cli.core.engine import ChatRequest
from dynamicrag_cli.core.records import RetrievedQuestion
from dynamicrag_cli.stages.feedback import Feedback
from tests.builders import GOLD, ScriptedEngine, default_prompts, retrieved

WEIGHTS = {"em": 1.0, "f1": 1.0, "hit": 1.0}
NAMES = "abcdef"
PAIR = {"b", "e"}


class Table(torch.nn.Module):
    """One score per question and place."""

    def __init__(self, n_questions: int, n_docs: int) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.zeros(n_questions, n_docs))

    def forward(self, records):
        return [self.values[int(record.id), : len(record.docs)] for record in records]


def questions(n: int, names: str = NAMES) -> list[RetrievedQuestion]:
    return [retrieved(names, id=str(number), question=f"Question {number}?") for number in range(n)]


def read_by(request: ChatRequest) -> list[str]:
    """The passages in the prompt, in order."""
    return re.findall(r"Text of (\w)\.", request.chat.user)


def reader() -> ScriptedEngine:
    """Right if the pair comes first, in whatever order; anything that comes before it is a distractor."""
    return ScriptedEngine(lambda request, _: GOLD if {*read_by(request)[:2]} == PAIR else "unknown")


def feedback(engine: ScriptedEngine | None = None, cache: ReplyCache | None = None, name: str = "reader") -> Feedback:
    remembering = CachedEngine(engine or reader(), cache or ReplyCache(MEMORY), name)
    return Feedback(remembering, default_prompts(), WEIGHTS)
