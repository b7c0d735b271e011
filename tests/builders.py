"""Small records and scripted engines for the tests."""

from collections.abc import Callable, Sequence

from hypothesis import settings

from dynamicrag_cli.adapters.files.templates import load_prompts
from dynamicrag_cli.core.engine import ChatRequest, Completion, SamplingOptions
from dynamicrag_cli.core.prompts import Chat, PromptSet
from dynamicrag_cli.core.records import (
    Candidate,
    LabelledQuestion,
    Prediction,
    Question,
    Relevance,
    RetrievedQuestion,
    Reward,
    RewardedQuestion,
    Rollout,
    SampledQuestion,
)

# Reproducible and free of time limits: the machine may be busy.
quick = settings(max_examples=200, deadline=None, derandomize=True, database=None)

QUESTION = "Where does the Danube rise?"
GOLD = "Donaueschingen"


def doc(name: str, text: str | None = None, title: str | None = None) -> Candidate:
    return Candidate(id=name, title=f"Title {name}" if title is None else title, text=text or f"Text of {name}.")


def docs(names: str) -> list[Candidate]:
    return [doc(name) for name in names]


def base(**fields) -> dict:
    return {"id": "q-1", "question": QUESTION, "answers": [GOLD], "dataset": "qa", **fields}


def question(**fields) -> Question:
    return Question(**base(**fields))


def retrieved(names: str = "abcd", **fields) -> RetrievedQuestion:
    return RetrievedQuestion(**base(**{"docs": docs(names), **fields}))


def labelled(scores: Sequence[float], threshold: float | None = 0.5, **fields) -> LabelledQuestion:
    relevance = Relevance(teacher="scripted", model=None, scores=list(scores), threshold=threshold)
    candidates = docs("abcdefghijklmnopqrstuvwxyz"[: len(scores)])
    return LabelledQuestion(**base(**{"docs": candidates, "relevance": relevance, **fields}))


def rollout(selection: str, answer: str | None = GOLD, status: str | None = None, **fields) -> Rollout:
    return Rollout(selection=list(selection), answer=answer, status=status or ("ok" if selection else "none"), **fields)


def sampled(rollouts: Sequence[Rollout], names: str = "abcd", **fields) -> SampledQuestion:
    return SampledQuestion(**base(**{"docs": docs(names), "rollouts": list(rollouts), **fields}))


def rewarded(rollouts: Sequence[Rollout], totals: Sequence[float | None], **fields) -> RewardedQuestion:
    rewards = [Reward(total=total, terms={"em": total}) for total in totals]
    return RewardedQuestion(**base(**{"docs": docs("abcd"), "rollouts": list(rollouts), "rewards": rewards, **fields}))


def prediction(made: Rollout, names: str = "abcd", **fields) -> Prediction:
    return Prediction(**base(**{"docs": docs(names), "rollout": made, "selector": "llm", **fields}))


def default_prompts(control_tokens: frozenset[str] = frozenset()) -> PromptSet:
    return load_prompts(None, control_tokens)


class ScriptedEngine:
    """Answers with `reply(request, sample number)`: a text or a completion; keeps every call. Its tokens are words."""

    control_tokens: frozenset[str] = frozenset()
    constrains = False

    def __init__(self, reply: Callable[[ChatRequest, int], str | Completion], context: int = 10**6) -> None:
        self.reply = reply
        self.context = context
        self.calls: list[list[ChatRequest]] = []
        self.options: list[SamplingOptions] = []

    @property
    def requests(self) -> list[ChatRequest]:
        return [request for call in self.calls for request in call]

    def chat(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        self.calls.append(list(requests))
        self.options.append(options)
        return [[self._completion(request, sample) for sample in range(options.n)] for request in requests]

    def _completion(self, request: ChatRequest, sample: int) -> Completion:
        made = self.reply(request, sample)
        return made if isinstance(made, Completion) else Completion(made, "stop", n_prompt_tokens=7, n_new_tokens=1)

    def excess(self, chats: Sequence[Chat], max_new_tokens: int) -> list[int]:
        return [len(chat.user.split()) + max_new_tokens - self.context for chat in chats]

    def score(self, requests: Sequence[ChatRequest], continuations: Sequence[str]) -> list[list[float]]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def says(*replies: str | Completion) -> ScriptedEngine:
    """Sample i of every request gets reply i."""
    return ScriptedEngine(lambda _request, sample: replies[sample])


def failing(reason: str = "no memory") -> ScriptedEngine:
    return ScriptedEngine(lambda _request, _sample: Completion("", "error", error=reason))
