"""What is wrong with training data before any training: examples that teach something else than they seem to.

A trainer cuts what is longer than its limit without a word. LLaMA-Factory cuts the end of the prompt, which holds the last
passages and the turn of the reply: such an example teaches to name passages that it does not show. A reply that is longer than
half of the limit is cut as well, by which the two sides of a pair may become equal.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dynamicrag_cli.core.prompts import Chat
from dynamicrag_cli.core.records import ChatExample, PreferencePair

FINDINGS = {
    "truncated": "longer than the cutoff: the end of the prompt is lost",
    "target_lost": "the reply names a passage that the cutoff removes",
    "equal_sides": "chosen and rejected are equal to the model, after the cutoff",
    "empty_reply": "there is nothing to learn",
    "control_token": "a text holds a control token of the model",
    "duplicate": "the same prompt and reply stand twice",
    "contradiction": "the same prompt stands with another reply",
}
Example = ChatExample | PreferencePair
_IDENTIFIER = re.compile(r"\[\d+\]")


class Tokens(Protocol):
    """A model's tokenizer with its chat template."""

    control_tokens: frozenset[str]

    def prompt(self, chat: Chat) -> list[int]:
        """Token ids of a prompt, ready for the reply."""
        ...

    def reply(self, text: str) -> list[int]:
        """Token ids of a reply with its end."""
        ...

    def text(self, ids: Sequence[int]) -> str:
        """The text of some token ids."""
        ...


@dataclass
class Auditor:
    """Looks at the examples of one training run, one by one.

    Attributes:
        tokens: Tokenizer of the model that is to be trained.
        cutoff: Tokens after which the trainer cuts an example.
        lengths: Tokens of every example so far, prompt and longest reply.
    """

    tokens: Tokens
    cutoff: int
    lengths: list[int] = field(default_factory=list)
    _seen: dict[bytes, set[bytes]] = field(default_factory=dict)

    def look(self, example: Example) -> list[str]:
        """Names of what is wrong with an example, none if it is sound."""
        replies = _replies(example)
        prompt = self.tokens.prompt(Chat(example.system, example.user))
        sides = [self.tokens.reply(reply) for reply in replies]
        longest = max(map(len, sides))
        self.lengths.append(len(prompt) + longest)
        found = []
        n_prompt, n_reply = kept_lengths(len(prompt), longest, self.cutoff)
        if len(prompt) + longest > self.cutoff:
            found.append("truncated")
            # The instruction shows what identifiers look like, so it is left out of the search.
            kept = self.tokens.text(prompt[:n_prompt]).replace(example.system, "")
            named = {name for reply in replies for name in _IDENTIFIER.findall(reply)} if example.role == "reranker" else set()
            if any(name not in kept for name in named):
                found.append("target_lost")
        if len(sides) == 2 and sides[0][:n_reply] == sides[1][:n_reply]:
            found.append("equal_sides")
        if not all(reply.strip() for reply in replies):
            found.append("empty_reply")
        if self._holds_control(example.system, example.user, *replies):
            found.append("control_token")
        return found + self._seen_before(prompt, sides)

    def _holds_control(self, *texts: str) -> bool:
        return any(token in text for token in self.tokens.control_tokens if token.strip() for text in texts)

    def _seen_before(self, prompt: Sequence[int], sides: Sequence[Sequence[int]]) -> list[str]:
        others = self._seen.setdefault(_digest(prompt), set())
        reply = _digest(*sides)
        found = ["duplicate"] if reply in others else ["contradiction"] if others and len(sides) == 1 else []
        others.add(reply)
        return found


def kept_lengths(n_prompt: int, n_reply: int, cutoff: int) -> tuple[int, int]:
    """Tokens of a prompt and of its longest reply that LLaMA-Factory keeps: the reply whole if it is short, else both in part."""
    if 2 * n_reply < cutoff:
        most = cutoff
    elif 2 * n_prompt < cutoff:
        most = cutoff - n_prompt
    else:
        most = int(cutoff * (n_reply / (n_prompt + n_reply)))  # in floats, as it is there
    kept = min(most, n_reply)
    return min(max(cutoff - kept, 0), n_prompt), kept


def _replies(example: Example) -> tuple[str, ...]:
    return (example.assistant,) if isinstance(example, ChatExample) else (example.chosen, example.rejected)


def _digest(*sequences: Sequence[int]) -> bytes:
    return hashlib.sha256(repr([list(sequence) for sequence in sequences]).encode()).digest()


def n_common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their beginning."""
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def percentiles(lengths: Sequence[int], shares: Iterable[int] = (50, 90, 99, 100)) -> dict[str, int]:
    """The length below which that many percent of the examples are, nearest rank."""
    ordered = sorted(lengths)
    return {f"p{share}": ordered[max(-(-share * len(ordered) // 100) - 1, 0)] for share in shares if ordered}
