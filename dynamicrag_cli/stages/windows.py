"""Pools that are larger than a prompt: knock-out rounds in windows until one window holds what is left.

In a round the pool is dealt out to windows like cards (window i of m gets the candidates i, i + m, i + 2m, …), so that every
window is a small retrieval list of its own, its best candidates first. The model chooses in each, greedily; what it chose goes
on, in retrieval order. All windows of all questions of a round are one batch. When a single window can hold the pool, it is the
last prompt, which chooses and orders, so every candidate can be chosen, wherever it stood.

A window lets at most half of its candidates go on (its first choices; one at least), because a model that keeps everything
would never come to an end: R rounds are enough for W * 2^R candidates and windows of W, and all windows of N candidates are
fewer than about 2N / W calls. A window that is answered with None lets nothing go on.

Sliding-window rerankers (RankGPT, Sun et al. 2023, arXiv 2304.09542) sort the whole list: one window after the other, from the
end to the front, each overlapping the last by half. Here a window chooses instead of sorting, so windows do not wait for one
another, most of the pool is gone after one round, and no order of N candidates is claimed that nobody needs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.identifiers import WELL_FORMED
from dynamicrag_cli.core.records import Candidate, RetrievedQuestion, Rollout

Choose = Callable[[Sequence[RetrievedQuestion]], Sequence[Rollout]]
Excess = Callable[[Sequence[RetrievedQuestion]], Sequence[int]]


@dataclass(frozen=True)
class Limits:
    """What a window may hold: passages (at least 2), and tokens of passages; None is no limit but the model's context."""

    passages: int | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Pool:
    """A question with the candidates that are left, in retrieval order.

    Attributes:
        record: The question as the last prompt shows it.
        n_calls: Windows asked so far.
        n_fallbacks: Windows whose reply named nothing and did not say None: their first half, in retrieval order, went on.
        error: Why a window could not be answered; the question then has no selection.
    """

    record: RetrievedQuestion
    n_calls: int = 0
    n_fallbacks: int = 0
    error: str | None = None


def first_candidates(record: RetrievedQuestion, n: int | None) -> RetrievedQuestion:
    """The record with its first `n` candidates alone (all for None)."""
    if n is None or len(record.docs) <= n:
        return record
    known = record.relevance
    cut = known and msgspec.structs.replace(known, scores=known.scores[:n])
    return msgspec.structs.replace(record, docs=record.docs[:n], relevance=cut)


def narrow(records: Sequence[RetrievedQuestion], choose: Choose, excess: Excess, limits: Limits) -> list[Pool]:
    """The pools when the rounds are over; a question that one window and the context can hold is as it came.

    Args:
        records: The questions with all their candidates.
        choose: One greedy selection per window, a question with the candidates of the window.
        excess: Tokens by which the prompt of each window, with its reply, exceeds the context.
        limits: Size of a window; windows that would exceed the context are smaller.

    Raises:
        UsageError: A limit in tokens for an engine that cannot count them.
    """
    pools = [Pool(record) for record in records]
    active = [index for index, record in enumerate(records) if len(record.docs) > 1]
    for turn in range(1, max((len(record.docs) for record in records), default=0) + 1):
        split = _windows([pools[index].record for index in active], excess, limits)
        dealt = {index: windows for index, windows in zip(active, split, strict=True) if len(windows) > 1}
        asked = [
            _with(pools[index].record, docs, f"/{turn}.{place}")
            for index, windows in dealt.items()
            for place, docs in enumerate(windows, start=1)
        ]
        if not asked:
            break
        replies = iter(choose(asked))
        sizes = {index: len(pools[index].record.docs) for index in dealt}
        for index, windows in dealt.items():
            pools[index] = _merged(pools[index], windows, [next(replies) for _ in windows])
        # Windows of one passage each may all be kept: then the rounds can do no more.
        active = [index for index, size in sizes.items() if not pools[index].error and len(pools[index].record.docs) < size]
    return pools


def _tokens(records: Sequence[RetrievedQuestion], excess: Excess, limits: Limits) -> list[tuple[int, int]]:
    """Tokens of each question's passages, and the room that its prompt has for them."""
    full, bare = excess(records), excess([_with(record, []) for record in records])
    made = [(whole - empty, -empty) for whole, empty in zip(full, bare, strict=True)]
    if limits.tokens is not None and any(not tokens for tokens, _ in made):
        raise UsageError("--window-tokens needs an engine that counts tokens; give --max-model-len, or --window for passages")
    return made


def _windows(records: Sequence[RetrievedQuestion], excess: Excess, limits: Limits) -> list[list[list[Candidate]]]:
    """Per question, its candidates dealt out to as few windows as the limits and the context allow."""
    made = [_deal(record.docs, math.ceil(len(record.docs) / (limits.passages or len(record.docs) or 1))) for record in records]
    waiting = [(index, docs) for index, windows in enumerate(made) for docs in windows if len(docs) > 1]
    while waiting:
        sizes = _tokens([_with(records[index], docs) for index, docs in waiting], excess, limits)
        smaller: list[tuple[int, list[Candidate]]] = []
        for (index, docs), (tokens, free) in zip(waiting, sizes, strict=True):
            room = min(free, limits.tokens or free)
            if tokens > room:
                parts = _deal(docs, math.ceil(tokens / room) if room > 0 else len(docs))
                place = made[index].index(docs)
                made[index][place : place + 1] = parts
                smaller += [(index, part) for part in parts if len(part) > 1]
        waiting = smaller
    return made


def _deal(docs: Sequence[Candidate], n: int) -> list[list[Candidate]]:
    n = min(max(n, 1), max(len(docs), 1))
    return [[*docs[place::n]] for place in range(n)]


def _with(record: RetrievedQuestion, docs: list[Candidate], suffix: str = "") -> RetrievedQuestion:
    return RetrievedQuestion(
        id=record.id + suffix, question=record.question, answers=record.answers, dataset=record.dataset, docs=docs
    )


def _merged(pool: Pool, windows: Sequence[Sequence[Candidate]], replies: Sequence[Rollout]) -> Pool:
    kept: set[str] = set()
    n_fallbacks = pool.n_fallbacks
    for docs, reply in zip(windows, replies, strict=True):
        half = max(len(docs) // 2, 1)
        named = reply.selection
        if not named and reply.status not in WELL_FORMED:
            named = [doc.id for doc in docs]
            n_fallbacks += 1
        kept.update(named[:half])
    errors = [reply.error for reply in replies if reply.error is not None]
    left = [doc for doc in pool.record.docs if doc.id in kept]
    return replace(
        pool,
        record=_with(pool.record, left),
        n_calls=pool.n_calls + len(windows),
        n_fallbacks=n_fallbacks,
        error=f"{len(errors)} of {len(windows)} windows failed: {errors[0]}" if errors else None,
    )
