"""Prompts that fit: what is left out of a prompt that would be longer than the model's context, before it is submitted.

The policy: passages are dropped from the end of the list, the least useful first, until the prompt fits. A single passage that is
too long by itself is cut at its end, word by word. What then still does not fit (an over-long question) is the engine's error.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from dynamicrag_cli.core.engine import Engine
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.prompts import Chat
from dynamicrag_cli.core.records import Candidate

_FEWEST_WORDS = 8


@dataclass(frozen=True)
class Fitted:
    """A prompt that fits, as far as dropping and cutting passages can make it.

    Attributes:
        docs: The passages that it holds: a prefix of those asked for, the last one perhaps cut.
        chat: The prompt.
        n_dropped: Passages left out.
        cut: Whether the one passage left was cut.
    """

    docs: Sequence[Candidate]
    chat: Chat
    n_dropped: int = 0
    cut: bool = False


def fit(
    lists: Sequence[Sequence[Candidate]],
    render: Callable[[int, Sequence[Candidate]], Chat],
    engine: Engine,
    max_new_tokens: int,
    max_context_tokens: int | None = None,
) -> list[Fitted]:
    """One prompt per list of passages; `render(index, docs)` makes the prompt of list `index` from some of its passages.

    With `max_context_tokens` the passages themselves have no more tokens than that: what a prompt with them is longer than one
    without any.

    Raises:
        UsageError: The engine cannot count tokens, which `max_context_tokens` needs.
    """
    made = [Fitted(docs, render(index, docs)) for index, docs in enumerate(lists)]
    waiting = list(range(len(made)))
    while waiting:
        excess = engine.excess([made[index].chat for index in waiting], max_new_tokens)
        if max_context_tokens is not None:
            bare = engine.excess([render(index, ()) for index in waiting], max_new_tokens)
            if any(made[index].docs and a == b for index, a, b in zip(waiting, excess, bare, strict=True)):
                raise UsageError(
                    "--max-context-tokens needs an engine that counts tokens; with this one give --max-model-len too"
                )
            excess = [max(a, a - b - max_context_tokens) for a, b in zip(excess, bare, strict=True)]
        changed = []
        for index, tokens in zip(waiting, excess, strict=True):
            smaller = _smaller(made[index], tokens) if tokens > 0 else None
            if smaller is not None:
                made[index] = replace(smaller, chat=render(index, smaller.docs))
                changed.append(index)
        waiting = changed
    return made


def _smaller(fitted: Fitted, excess: int) -> Fitted | None:
    """The next try for a prompt that is `excess` tokens too long; None if there is nothing left to take away."""
    docs = list(fitted.docs)
    if len(docs) > 1:
        freed = 0
        while len(docs) > 1 and freed < excess:
            dropped = docs.pop()
            # A token has at least one letter: this drops too few passages at a time, never too many.
            freed += len(dropped.title) + len(dropped.text)
        return replace(fitted, docs=docs, n_dropped=fitted.n_dropped + len(fitted.docs) - len(docs))
    words = docs[0].text.split() if docs else []
    if len(words) <= _FEWEST_WORDS:
        return None
    kept = max(min(len(words) - excess // 2, len(words) * 9 // 10), _FEWEST_WORDS)
    return replace(fitted, docs=[msgspec.structs.replace(docs[0], text=" ".join(words[:kept]))], cut=True)
