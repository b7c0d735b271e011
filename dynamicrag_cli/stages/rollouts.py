"""The two-step core of `sample` and `infer`: choose passages, then answer from them.

Both steps hand an engine everything at once. Equal selections of one question are answered once.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

from dynamicrag_cli.core.engine import ChatRequest, Completion, Engine, SamplingOptions
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.identifiers import WELL_FORMED, parse_selection
from dynamicrag_cli.core.prompts import Chat, PromptSet
from dynamicrag_cli.core.records import Candidate, Prediction, RetrievedQuestion, Rollout, SampledQuestion, extend
from dynamicrag_cli.core.selectors import PURE_SELECTORS, Positions, Selector, in_order
from dynamicrag_cli.core.tasks import task_of
from dynamicrag_cli.stages.budget import Fitted, fit
from dynamicrag_cli.stages.outcome import Outcome


def select_with_model(
    records: Sequence[RetrievedQuestion], engine: Engine, prompts: PromptSet, options: SamplingOptions
) -> list[list[Rollout]]:
    """`options.n` selections per record, not answered yet: shape (len(records), n)."""
    fitted = fit(
        [record.docs for record in records],
        lambda index, docs: prompts.reranker(records[index].question, docs),
        engine,
        options.max_new_tokens,
    )
    requests = [ChatRequest(f"select:{record.id}", shown.chat) for record, shown in zip(records, fitted, strict=True)]
    replies = engine.chat(requests, options)
    return [[_rollout(shown, reply) for reply in group] for shown, group in zip(fitted, replies, strict=True)]


def _rollout(shown: Fitted, reply: Completion) -> Rollout:
    if reply.error is not None:
        return Rollout(selection=[], status="failed", error=reply.error)
    parsed = parse_selection(reply.text, len(shown.docs), truncated=reply.finish_reason == "length")
    return Rollout(
        selection=[shown.docs[position].id for position in parsed.positions],
        status=parsed.status,
        raw=reply.text,
        n_unseen=shown.n_dropped,
        cut=shown.cut,
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
        )
        keys = [f"answer:{records[index].id}:{','.join(selection)}" for index, selection in jobs]
        requests = [ChatRequest(key, shown.chat) for key, shown in zip(keys, fitted, strict=True)]
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
    added = {
        "answer": None if reply.error is not None else reply.text,
        "error": reply.error,
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
    answered = answer(records, selected, reader, reader_prompts, options.seed)
    return [
        _failure(rollouts) or extend(record, SampledQuestion, rollouts=rollouts)
        for record, rollouts in zip(records, answered, strict=True)
    ]


def _failure(rollouts: Sequence[Rollout]) -> Exception | None:
    """The reason if the engine failed for every rollout of a question, which is then rejected instead of kept as an empty one."""
    errors = [rollout.error for rollout in rollouts]
    return ValueError(f"the engine failed: {errors[0]}") if errors and all(errors) else None


def infer(
    records: Sequence[RetrievedQuestion],
    selector: Selector,
    policy: Engine | None,
    reader: Engine,
    policy_prompts: PromptSet,
    reader_prompts: PromptSet,
    options: SamplingOptions,
    ranker: Callable[[Sequence[RetrievedQuestion]], Sequence[Positions]] | None = None,
) -> list[Outcome]:
    """`infer`: one selection and its answer per question; a record that the selector cannot serve comes back as the error.

    The selection is the `policy`'s, an LLM; else the `ranker`'s, a small model; else the selector's own rule.
    """
    usable: list[RetrievedQuestion] = []
    chosen: list[list[Rollout]] = []
    errors: dict[str, Exception] = {}
    if policy is not None:
        usable = list(records)
        chosen = select_with_model(records, policy, policy_prompts, options)
    elif ranker is not None:
        usable = list(records)
        chosen = [[_chosen(record, positions)] for record, positions in zip(records, ranker(records), strict=True)]
    else:
        for record in records:
            try:
                chosen.append([select_by_rule(record, selector)])
                usable.append(record)
            except InputError as error:
                errors[record.id] = error
    if selector.order:
        chosen = [
            [
                extend(rollout, Rollout, selection=in_order(rollout.selection, selector, record.id, options.seed))
                for rollout in group
            ]
            for record, group in zip(usable, chosen, strict=True)
        ]
    answered = answer(usable, chosen, reader, reader_prompts, options.seed)
    made: dict[str, Outcome] = {
        record.id: _failure(rollouts) or extend(record, Prediction, rollout=rollouts[0], selector=str(selector))
        for record, rollouts in zip(usable, answered, strict=True)
    }
    return [errors.get(record.id) or made[record.id] for record in records]
