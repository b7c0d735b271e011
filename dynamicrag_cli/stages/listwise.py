"""`rerank-teacher --teacher listwise`: candidates in, relevance by their place in a listwise model's order out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from dynamicrag_cli.core.engine import ChatRequest, Engine, SamplingOptions
from dynamicrag_cli.core.listwise import graded, parse_order, windows
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import LabelledQuestion, Relevance, RetrievedQuestion, extend
from dynamicrag_cli.stages.budget import fit
from dynamicrag_cli.stages.outcome import Outcome

# `[12] > ` is six tokens where a tokenizer takes digits one by one.
_TOKENS_PER_PASSAGE = 6


@dataclass(frozen=True)
class ListwiseOptions:
    """How a list is ranked.

    Attributes:
        window: Passages in one prompt.
        stride: Places by which the window moves up, at most `window`.
        threshold: Relevance cut to recommend, if any: the scores only rank.
    """

    window: int = 20
    stride: int = 10
    threshold: float | None = None


@dataclass
class _Ranking:
    """The order of one question's candidates so far, and what it took."""

    order: list[int]
    n_calls: int = 0
    n_malformed: int = 0
    n_named: int = 0
    errors: list[str] = field(default_factory=list)


def label_listwise(
    records: Sequence[RetrievedQuestion], engine: Engine, prompts: PromptSet, options: ListwiseOptions, model: str | None
) -> list[Outcome]:
    """Rank all records, the windows of equal number of all of them in one call of the engine.

    A question for which a call failed, or for which no reply named a passage, comes back as the error: else the retriever's order
    would be taken for the teacher's.
    """
    rankings = [_Ranking([*range(len(record.docs))]) for record in records]
    plans = [windows(len(record.docs), options.window, options.stride) for record in records]
    for number, spans in enumerate(zip_longest(*plans)):
        jobs = [(i, span) for i, span in enumerate(spans) if span is not None and not rankings[i].errors]
        _rank(number, jobs, records, rankings, engine, prompts, options.window * _TOKENS_PER_PASSAGE)
    return [_labelled(record, made, options, model) for record, made in zip(records, rankings, strict=True)]


def _rank(
    number: int,
    jobs: Sequence[tuple[int, tuple[int, int]]],
    records: Sequence[RetrievedQuestion],
    rankings: Sequence[_Ranking],
    engine: Engine,
    prompts: PromptSet,
    max_new_tokens: int,
) -> None:
    """Order one window of each job's question; passages that did not fit into the prompt keep their places at its end."""
    fitted = fit(
        [[records[i].docs[position] for position in rankings[i].order[start:end]] for i, (start, end) in jobs],
        lambda place, docs: prompts.listwise(records[jobs[place][0]].question, docs),
        engine,
        max_new_tokens,
    )
    requests = [ChatRequest(f"rank:{records[i].id}:{number}", shown.chat) for (i, _), shown in zip(jobs, fitted, strict=True)]
    replies = engine.chat(requests, SamplingOptions(max_new_tokens=max_new_tokens))
    for (i, (start, end)), shown, (reply,) in zip(jobs, fitted, replies, strict=True):
        made = rankings[i]
        made.n_calls += 1
        if reply.error is not None:
            made.errors.append(reply.error)
            continue
        found = parse_order(reply.said, len(shown.docs), truncated=reply.finish_reason == "length")
        made.n_malformed += not found.whole
        made.n_named += found.n_named
        old = made.order[start:end]
        made.order[start:end] = [old[place] for place in (*found.positions, *range(len(shown.docs), len(old)))]


def _labelled(record: RetrievedQuestion, made: _Ranking, options: ListwiseOptions, model: str | None) -> Outcome:
    if made.errors:
        return ValueError(f"the engine failed: {made.errors[0]}")
    if made.n_calls and not made.n_named:
        return ValueError(f"none of the {made.n_calls} replies ranks a passage; is the model a listwise ranker?")
    relevance = Relevance(
        teacher="listwise",
        model=model,
        scores=graded(made.order),
        threshold=options.threshold,
        n_calls=made.n_calls,
        n_malformed=made.n_malformed,
    )
    return extend(record, LabelledQuestion, relevance=relevance)  # type: ignore[no-any-return]
