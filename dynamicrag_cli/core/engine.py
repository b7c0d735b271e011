"""The contract between the stages and whatever generates text.

An engine takes all requests it is given at once and answers all of them: batching is its business. A request that fails gives
completions with `error` set; an engine raises `EngineError` only when it cannot go on at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dynamicrag_cli.core.grammar import ChoiceRules, Constraint
from dynamicrag_cli.core.prompts import Chat


@dataclass(frozen=True)
class ChatRequest:
    """One prompt. `key` identifies it for seeding: sampled text depends on (seed, key, sample number), not on the batch.

    With a `constraint` the reply is one of its closed set, if the engine `constrains`; other engines ignore it. `on_text` is told
    the reply so far while it is written, by engines that can; it changes no reply.
    """

    key: str
    chat: Chat
    constraint: Constraint | None = None
    on_text: Callable[[str], None] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class SamplingOptions:
    """How to generate.

    Attributes:
        n: Samples per request.
        temperature: 0 is greedy (all n samples are then equal).
        top_p: Nucleus mass in (0, 1].
        max_new_tokens: Limit per sample.
        seed: Run seed, at least 0.
        choice: What selections may be, and what becomes of malformed ones: for the stages; an engine reads each request.
    """

    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 50
    seed: int = 0
    choice: ChoiceRules = field(default_factory=ChoiceRules)


@dataclass(frozen=True)
class Completion:
    """One generated text.

    `finish_reason` is `stop`, `length` (cut by the token limit) or `error`; `logprobs` are those of the generated tokens, natural
    logarithm, where the engine gives them; under a constraint they are those of the allowed tokens alone, stop bias included.
    `stop_probs`, of a constrained reply, has the probability of stopping before the first and after each identifier
    (`core.grammar.Walk`): one more than there are identifiers.
    """

    text: str
    finish_reason: str
    n_prompt_tokens: int = 0
    n_new_tokens: int = 0
    logprobs: tuple[float, ...] | None = None
    error: str | None = None
    stop_probs: tuple[float, ...] | None = None

    @property
    def said(self) -> str:
        """The text without the reasoning that some models write first; empty if the reply ended within it."""
        _, mark, rest = self.text.partition("</think>")
        if mark:
            return rest.lstrip()
        return "" if self.only_reasoned else self.text

    @property
    def only_reasoned(self) -> bool:
        """Whether the reply ended before its reasoning did."""
        return self.text.lstrip().startswith("<think>") and "</think>" not in self.text


class Engine(Protocol):
    """A loaded model that chats; `constrains` says whether it keeps to the constraint of a request."""

    control_tokens: frozenset[str]
    constrains: bool

    def chat(self, requests: Sequence[ChatRequest], options: SamplingOptions) -> list[list[Completion]]:
        """Texts for all requests: shape (len(requests), options.n), in order."""
        ...

    def excess(self, chats: Sequence[Chat], max_new_tokens: int) -> list[int]:
        """Tokens by which each prompt with a reply of that length exceeds the context; at most 0 if it fits."""
        ...

    def score(self, requests: Sequence[ChatRequest], continuations: Sequence[str]) -> list[list[float]]:
        """Log-probability (natural) of each continuation as the whole start of the reply: (len(requests), len(continuations))."""
        ...

    def close(self) -> None:
        """Free the model's memory."""
        ...


class Teacher(Protocol):
    """A model that scores passages for a question, pointwise."""

    def relevance(self, pairs: Sequence[tuple[str, str, str]]) -> list[float]:
        """Relevance in [0, 1] of each (question, title, text), in order; batching is the teacher's business."""
        ...
