"""A causal LM as teacher: probability of Yes against No after a yes/no prompt (as RankRAG ranks, Yu et al. 2024)."""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from dynamicrag_cli.core.engine import ChatRequest, Engine
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import Candidate


class LlmTeacher:
    """Relevance is P(Yes) / (P(Yes) + P(No)), in [0, 1], from the engine's log-probabilities."""

    threshold = 0.5

    def __init__(self, engine: Engine, prompts: PromptSet) -> None:
        self.engine, self.prompts = engine, prompts

    def relevance(self, pairs: Sequence[tuple[str, str, str]]) -> list[float]:
        """Relevance of each (question, title, text) in [0, 1]."""
        requests = [
            ChatRequest(str(number), self.prompts.relevance(question, Candidate(id="passage", title=title, text=text)))
            for number, (question, title, text) in enumerate(pairs)
        ]
        scores = np.asarray(self.engine.score(requests, ["Yes", "No"])).reshape(-1, 2)
        return [float(value) for value in expit(scores[:, 0] - scores[:, 1])]
