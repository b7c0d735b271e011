"""`build-bc`: labelled questions in, supervised examples for both roles and the pool for DPO out.

The dev split is left out. The training split is divided by hash: the SFT part gives one reranker example (the cloning target)
and one generator example (the gold answer from the target's passages) per question, in the very prompts that inference renders;
the DPO part is passed on unchanged. The candidates stand in a random order in the reranker's prompt, a function of (seed, id), so
that position teaches nothing; the copies of an example are its rotations, so that with N copies each passage stands once at each
of N places.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dynamicrag_cli.core.curriculum import Curriculum, lesson_of
from dynamicrag_cli.core.identifiers import format_selection
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import ChatExample, LabelledQuestion, Record
from dynamicrag_cli.core.splits import generator, split_of, training_part
from dynamicrag_cli.stages.outcome import Emission, Outcome

RERANKER_FILE, GENERATOR_FILE, POOL_FILE = "reranker_bc", "generator_sft", "dpo_pool"
Target = Callable[[LabelledQuestion, float | None, int], tuple[int, ...] | None]


@dataclass(frozen=True)
class CloningOptions:
    """How examples are made.

    Attributes:
        threshold: Relevance cut of the `threshold` target; None takes the teacher's own.
        max_passages: Cap on the length of a target (the paper: 15).
        copies: Reranker examples per question: the same target passages, the candidates in an order that is rotated by one.
        curriculum: Shares of the questions that are shown with fewer candidates, and come first in training.
        dev_share: Share of questions without a split that are held out.
        dpo_share: Share of the training questions that go to the DPO part.
        seed: Seed of the splits and of the orders.
    """

    threshold: float | None = None
    max_passages: int = 15
    copies: int = 1
    curriculum: Curriculum = ()
    dev_share: float = 0.1
    dpo_share: float = 0.33
    seed: int = 0


def build_bc(records: Sequence[LabelledQuestion], target: Target, prompts: PromptSet, options: CloningOptions) -> list[Outcome]:
    """One emission per question."""
    return [_emit(record, target, prompts, options) for record in records]


def _emit(record: LabelledQuestion, target: Target, prompts: PromptSet, options: CloningOptions) -> Outcome:
    if split_of(record, options.seed, options.dev_share) != "train":
        return Emission("not in the training split")
    if not record.docs:
        return ValueError("the question has no candidates")
    if training_part(record, options.seed, options.dpo_share) == "dpo":
        return Emission("DPO part", {POOL_FILE: [record]})
    chosen = target(record, options.threshold, options.max_passages)
    if chosen is None:
        return Emission("no target: neither gold ids nor answer strings tell the evidence")
    lesson, size = lesson_of(options.curriculum, options.seed, record.id)
    orders = _orders(record, chosen, size, options)
    files: dict[str, list[Record]] = {
        RERANKER_FILE: [_reranker_example(record, chosen, copy, order, lesson, prompts) for copy, order in enumerate(orders)]
    }
    if references(record) and not _evidence_was_missed(record, chosen):
        files[GENERATOR_FILE] = [_generator_example(record, chosen, lesson, prompts)]
    return Emission("SFT part, target None" if not chosen else "SFT part", files)


def _evidence_was_missed(record: LabelledQuestion, chosen: tuple[int, ...]) -> bool:
    """Whether there is evidence that retrieval did not bring: to answer without it would be taught as guessing."""
    return not chosen and bool(record.gold_passage_ids)


def _orders(record: LabelledQuestion, chosen: tuple[int, ...], size: int | None, options: CloningOptions) -> list[list[int]]:
    """The candidates that each copy shows, in order: rotations of a random order, and a new one when they are used up.

    With a `size`, the chosen passages and at least one other are shown; the others take turns from one random order to the next.
    """
    others = [position for position in range(len(record.docs)) if position not in chosen]
    n_others = len(others) if size is None else min(len(others), max(size - len(chosen), 1))
    n_shown = len(chosen) + n_others
    generator("others", options.seed, record.id).shuffle(others)
    orders = []
    for copy in range(options.copies):
        draw, turn = divmod(copy, n_shown)
        shown = [*chosen, *(others[(draw * n_others + place) % len(others)] for place in range(n_others))]
        order = generator("order", options.seed, record.id, draw).sample(sorted(shown), n_shown)
        orders.append(order[turn:] + order[:turn])
    return orders


def _reranker_example(
    record: LabelledQuestion, chosen: tuple[int, ...], copy: int, order: list[int], lesson: int, prompts: PromptSet
) -> ChatExample:
    chat = prompts.reranker(record.question, [record.docs[position] for position in order])
    place = {position: shown for shown, position in enumerate(order)}
    return ChatExample(
        id=f"{record.id}#{copy}",
        role="reranker",
        lesson=lesson,
        system=chat.system,
        user=chat.user,
        assistant=format_selection([place[position] for position in chosen]),
    )


def _generator_example(record: LabelledQuestion, chosen: tuple[int, ...], lesson: int, prompts: PromptSet) -> ChatExample:
    chat = prompts.generator(record, [record.docs[position] for position in chosen])
    return ChatExample(
        id=record.id, role="generator", lesson=lesson, system=chat.system, user=chat.user, assistant=references(record)[0]
    )
