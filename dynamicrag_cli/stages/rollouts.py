"""The two-step core of `sample` and `infer`: choose passages, then answer from them.

Both steps hand an engine everything at once. Equal selections of one question are answered once.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from dynamicrag_cli.core.engine import ChatRequest, Completion, Engine, SamplingOptions
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.identifiers import NONE_REPLY, WELL_FORMED
from dynamicrag_cli.core.prompts import Chat, PromptSet
from dynamicrag_cli.core.records import Candidate, Prediction, RetrievedQuestion, Rollout, SampledQuestion, extend
from dynamicrag_cli.core.selectors import PURE_SELECTORS, Positions, Selector, in_order
from dynamicrag_cli.core.tasks import task_of
from dynamicrag_cli.stages.budget import Fitted, fit
from dynamicrag_cli.stages.outcome import Outcome
from dynamicrag_cli.stages.replies import ask_for_selections, read_selection
from dynamicrag_cli.stages.windows import Limits, Pool, narrow

Ranker = Callable[[Sequence[RetrievedQuestion]], Sequence[Positions]]


class Watcher(Protocol):
    """Who wants to see a question while it is worked on."""

    def chosen(self, record: RetrievedQuestion, rollout: Rollout) -> None:
        """Told of a selection before it is answered."""
        ...

    def text(self, answer: str) -> None:
        """Told the answer so far, as `ChatRequest.on_text` is."""
        ...


def select_with_model(
    records: Sequence[RetrievedQuestion],
    engine: Engine,
    prompts: PromptSet,
    options: SamplingOptions,
    limits: Limits | None = None,
) -> list[list[Rollout]]:
    """`options.n` selections per record, not answered yet: shape (len(records), n).

    With `limits`, pools that are too large for one window are narrowed first (`stages.windows`), greedily; the last window is
    where `options` counts.
    """
    if limits is None:
        return _select(records, engine, prompts, options)
    # How many are chosen in the end is the last prompt's business.
    greedy = replace(options, n=1, temperature=0.0, choice=replace(options.choice, max_k=None))
    pools = narrow(
        records,
        lambda windows: [group[0] for group in _select(windows, engine, prompts, greedy)],
        lambda windows: engine.excess([prompts.reranker(w.question, w.docs) for w in windows], options.max_new_tokens),
        limits,
    )
    is_last = [not pool.n_calls or (pool.error is None and bool(pool.record.docs)) for pool in pools]
    final = [pool.record for pool, last in zip(pools, is_last, strict=True) if last]
    asked = iter(_select(final, engine, prompts, options) if final else ())
    made = [next(asked) if last else [_left(pool)] * options.n for pool, last in zip(pools, is_last, strict=True)]
    return [
        [_after_rounds(pool, rollout, last=last) for rollout in group] if pool.n_calls else group
        for pool, group, last in zip(pools, made, is_last, strict=True)
    ]


def _left(pool: Pool) -> Rollout:
    """The selection where no candidate came to the last window: a window failed, or all were answered with None."""
    if pool.error is not None:
        return Rollout(selection=[], status="failed", error=pool.error)
    return Rollout(selection=[], status="none", raw=NONE_REPLY)


def _after_rounds(pool: Pool, rollout: Rollout, *, last: bool) -> Rollout:
    window = [doc.id for doc in pool.record.docs] if last else []
    added = {"n_calls": pool.n_calls + last, "n_fallbacks": pool.n_fallbacks, "window": window}
    return extend(rollout, Rollout, **added)  # type: ignore[no-any-return]


def _select(
    records: Sequence[RetrievedQuestion], engine: Engine, prompts: PromptSet, options: SamplingOptions
) -> list[list[Rollout]]:
    """`options.n` selections per record from one prompt: shape (len(records), n)."""
    fitted = fit(
        [record.docs for record in records],
        lambda index, docs: prompts.reranker(records[index].question, docs),
        engine,
        options.max_new_tokens,
    )
    replies = ask_for_selections([f"select:{record.id}" for record in records], fitted, engine, options)
    strict = options.choice.invalid == "strict"
    return [[_rollout(shown, reply, strict=strict) for reply in group] for shown, group in zip(fitted, replies, strict=True)]


def _rollout(shown: Fitted, reply: Completion, *, strict: bool) -> Rollout:
    if reply.error is not None:
        return Rollout(selection=[], status="failed", error=reply.error)
    parsed = read_selection(shown, reply)
    positions = () if strict and parsed.status not in WELL_FORMED else parsed.positions
    return Rollout(
        selection=[shown.docs[position].id for position in positions],
        status=parsed.status,
        raw=reply.text,
        n_unseen=shown.n_dropped,
        cut=shown.cut,
        stop_probs=None if reply.stop_probs is None else [round(chance, 6) for chance in reply.stop_probs],
    )


def select_by_rule(record: RetrievedQuestion, selector: Selector) -> Rollout:
    """The selection of a selector that needs no model.

    Raises:
        InputError: The record lacks what the selector needs.
    """
    return _chosen(record, PURE_SELECTORS[selector.name](record, selector))


def _chosen(record: RetrievedQuestion, positions: Positions) -> Rollout:
    return Rollout(selection=[record.docs[position].id for position in positions], status="ok" if positions else "none")


def answer(
    records: Sequence[RetrievedQuestion],
    rollouts: Sequence[Sequence[Rollout]],
    reader: Engine,
    prompts: PromptSet,
    seed: int = 0,
    max_context_tokens: int | None = None,
    on_text: Callable[[str], None] | None = None,
) -> list[list[Rollout]]:
    """The rollouts with greedy answers of the reader; each distinct selection of a question is answered once.

    A rollout whose selection failed altogether is left without an answer: reading nothing was not its choice.
    """
    waiting: dict[int, list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
    for index, (record, group) in enumerate(zip(records, rollouts, strict=True)):
        selections = dict.fromkeys(tuple(rollout.selection) for rollout in group if is_answerable(rollout))
        waiting[task_of(record.dataset).max_new_tokens].extend((index, selection) for selection in selections)
    replies: dict[tuple[int, tuple[str, ...]], tuple[Fitted, Completion]] = {}
    for max_new_tokens, jobs in waiting.items():
        fitted = fit(
            [chosen_docs(records[index], selection) for index, selection in jobs],
            lambda place, docs, jobs=jobs: prompts.generator(records[jobs[place][0]], docs),  # type: ignore[misc]
            reader,
            max_new_tokens,
            max_context_tokens,
        )
        keys = [f"answer:{records[index].id}:{','.join(selection)}" for index, selection in jobs]
        requests = [ChatRequest(key, shown.chat, on_text=on_text) for key, shown in zip(keys, fitted, strict=True)]
        answers = reader.chat(requests, SamplingOptions(max_new_tokens=max_new_tokens, seed=seed))
        replies.update({job: (shown, group[0]) for job, shown, group in zip(jobs, fitted, answers, strict=True)})
    return [
        [_answered(rollout, replies.get((index, tuple(rollout.selection)))) for rollout in group]
        for index, group in enumerate(rollouts)
    ]


def is_answerable(rollout: Rollout) -> bool:
    """Whether the reader is asked at all: not after a reply that names nothing and does not say None."""
    return rollout.status in WELL_FORMED or bool(rollout.selection)


def chosen_docs(record: RetrievedQuestion, selection: Sequence[str]) -> list[Candidate]:
    """The chosen passages, in the order of the selection."""
    by_id = {doc.id: doc for doc in record.docs}
    return [by_id[name] for name in selection]


def reader_prompt(record: RetrievedQuestion, selection: Sequence[str], prompts: PromptSet) -> Chat:
    """What the reader is asked when these passages were chosen and all fit."""
    return prompts.generator(record, chosen_docs(record, selection))


def _answered(rollout: Rollout, read: tuple[Fitted, Completion] | None) -> Rollout:
    if read is None or not is_answerable(rollout):
        return rollout
    shown, reply = read
    error = reply.error or ("the answer ended within the model's reasoning" if reply.only_reasoned else None)
    added = {
        "answer": None if error else reply.said,
        "error": error,
        "n_reader_tokens": reply.n_prompt_tokens,
        "n_unread": shown.n_dropped,
        "cut": rollout.cut or shown.cut,
    }
    return extend(rollout, Rollout, **added)  # type: ignore[no-any-return]


def sample(
    records: Sequence[RetrievedQuestion],
    policy: Engine,
    reader: Engine,
    policy_prompts: PromptSet,
    reader_prompts: PromptSet,
    options: SamplingOptions,
) -> list[Outcome]:
    """`sample`: n rollouts per question."""
    selected = select_with_model(records, policy, policy_prompts, options)
    answered = answer(records, selected, reader, reader_prompts, options.seed, options.choice.max_context_tokens)
    return [
        _failure(rollouts) or extend(record, SampledQuestion, rollouts=rollouts)
        for record, rollouts in zip(records, answered, strict=True)
    ]


def _failure(rollouts: Sequence[Rollout]) -> Exception | None:
    """The reason if the engine failed for every rollout of a question, which is then rejected instead of kept as an empty one."""
    errors = [rollout.error for rollout in rollouts]
    return ValueError(f"the engine failed: {errors[0]}") if errors and all(errors) else None


def choose(
    records: Sequence[RetrievedQuestion],
    selector: Selector,
    policy: Engine | None,
    prompts: PromptSet,
    options: SamplingOptions,
    ranker: Ranker | None = None,
    limits: Limits | None = None,
) -> list[Rollout | InputError]:
    """One selection per record, not answered yet, or why the selector cannot serve the record.

    The selection is the `policy`'s, an LLM; else the `ranker`'s, a small model; else the selector's own rule.
    """
    chosen: list[Rollout | InputError] = []
    if policy is not None:
        chosen += [group[0] for group in select_with_model(records, policy, prompts, options, limits)]
    elif ranker is not None:
        chosen += [_chosen(record, positions) for record, positions in zip(records, ranker(records), strict=True)]
    else:
        for record in records:
            try:
                chosen.append(select_by_rule(record, selector))
            except InputError as error:
                chosen.append(error)
    if not selector.order:
        return chosen
    return [
        extend(made, Rollout, selection=in_order(made.selection, selector, record.id, options.seed))
        if isinstance(made, Rollout)
        else made
        for record, made in zip(records, chosen, strict=True)
    ]


def infer(
    records: Sequence[RetrievedQuestion],
    selector: Selector,
    policy: Engine | None,
    reader: Engine,
    policy_prompts: PromptSet,
    reader_prompts: PromptSet,
    options: SamplingOptions,
    ranker: Ranker | None = None,
    limits: Limits | None = None,
    watcher: Watcher | None = None,
) -> list[Outcome]:
    """`infer`: one selection (see `choose`) and its answer per question; what the selector cannot serve is the error."""
    chosen = choose(records, selector, policy, policy_prompts, options, ranker, limits)
    served = [(record, made) for record, made in zip(records, chosen, strict=True) if isinstance(made, Rollout)]
    if watcher is not None:
        for record, made in served:
            watcher.chosen(record, made)
    usable, groups = [record for record, _ in served], [[made] for _, made in served]
    on_text = watcher.text if watcher else None
    answered = iter(answer(usable, groups, reader, reader_prompts, options.seed, options.choice.max_context_tokens, on_text))
    return [
        made if isinstance(made, InputError) else _predicted(record, next(answered)[0], selector)
        for record, made in zip(records, chosen, strict=True)
    ]


def _predicted(record: RetrievedQuestion, rollout: Rollout, selector: Selector) -> Outcome:
    """The answered selection as a prediction, or the engine's error."""
    return _failure([rollout]) or extend(record, Prediction, rollout=rollout, selector=str(selector))
