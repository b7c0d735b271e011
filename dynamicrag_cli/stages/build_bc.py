"""`build-bc`: labelled questions in, supervised examples for both roles and the pool for DPO out.

The dev split is left out. The training split is divided by hash: the SFT part gives one reranker example (the cloning target)
and one generator example (the gold answer from the target's passages) per question, in the very prompts that inference renders;
the DPO part is passed on unchanged. The candidates stand in a random order in the reranker's prompt, a function of (seed, id), so
that position teaches nothing; the copies of an example are its rotations, so that with N copies each passage stands once at each
of N places.

Where evidence is missing (nothing was chosen though something would have been needed), the reranker is taught None and the
generator nothing: a gold answer that no passage supports would be taught as guessing. A question that is known to need no passage
or to have no answer (`gold_passage_ids: []`) is taught its answer, `unknown` for an unanswerable one; the task's headline metric
scores it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dynamicrag_cli.core.curriculum import Curriculum, lesson_of
from dynamicrag_cli.core.duplicates import representatives
from dynamicrag_cli.core.identifiers import format_selection
from dynamicrag_cli.core.labels import has_answer, references, short_answers
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
        noise: Irrelevant candidates that are mixed into the generator's prompt, if there are as many.
        closed_book: An empty target means that the reader knows the answer, so the generator is taught it without passages.
    """

    threshold: float | None = None
    max_passages: int = 15
    copies: int = 1
    curriculum: Curriculum = ()
    dev_share: float = 0.1
    dpo_share: float = 0.33
    seed: int = 0
    noise: int = 0
    closed_book: bool = False


@dataclass(frozen=True)
class Plan:
    """What a look at all questions has settled before the first example is made.

    Attributes:
        groups: By question id the name of its group of near-duplicates, which decides the part.
        left_out: By id of a question of the training split that trains nothing: why.
    """

    groups: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def plan_of(asked: Sequence[tuple[str, str, str]], against: Sequence[str], threshold: float) -> Plan:
    """Groups of near-duplicates among the questions, given as (id, text, split), and those too near to what evaluates.

    Args:
        asked: All questions of the input.
        against: Texts of other questions that must not be trained on.
        threshold: Least similarity of near-duplicates (`core.duplicates`).
    """
    names = representatives([*(text for _, text, _ in asked), *against], threshold)
    groups = {name: group for (name, _, _), group in zip(asked, names, strict=False)}
    evaluated = {groups[name] for name, _, split in asked if split != "train"}
    foreign = {*names[len(asked) :]}
    left_out = {
        name: "near-duplicate of a question of --against" if groups[name] in foreign else "near-duplicate of a held-out question"
        for name, _, split in asked
        if split == "train" and groups[name] in foreign | evaluated
    }
    return Plan(groups, left_out)


def build_bc(
    records: Sequence[LabelledQuestion],
    target: Target,
    prompts: PromptSet,
    options: CloningOptions,
    plan: Plan | None = None,
) -> list[Outcome]:
    """One emission per question; one for which the target raises ValueError comes back as the error."""
    return [_emit(record, target, prompts, options, plan or Plan()) for record in records]


def wants_target(record: LabelledQuestion, options: CloningOptions, plan: Plan) -> bool:
    """Whether the question is in the SFT part, so that a target has to be found for it."""
    return bool(record.docs) and _elsewhere(record, options, plan) is None


def _elsewhere(record: LabelledQuestion, options: CloningOptions, plan: Plan) -> Emission | None:
    """What becomes of a question that is not in the SFT part; None for one that is."""
    if split_of(record, options.seed, options.dev_share) != "train":
        return Emission("not in the training split")
    if record.id in plan.left_out:
        return Emission(plan.left_out[record.id])
    if training_part(record, options.seed, options.dpo_share, plan.groups.get(record.id)) == "dpo":
        return Emission("DPO part", {POOL_FILE: [record]})
    return None


def _emit(record: LabelledQuestion, target: Target, prompts: PromptSet, options: CloningOptions, plan: Plan) -> Outcome:
    elsewhere = _elsewhere(record, options, plan)
    if elsewhere and not elsewhere.files:
        return elsewhere
    if not record.docs:
        return ValueError("the question has no candidates")
    if elsewhere:
        return elsewhere
    try:
        chosen = target(record, options.threshold, options.max_passages)
    except ValueError as error:
        return error
    if chosen is None:
        return Emission("no target: which passages are needed is not known, or they are more than --max-passages")
    lesson, size = lesson_of(options.curriculum, options.seed, record.id)
    orders = _orders(record, chosen, size, options)
    files: dict[str, list[Record]] = {
        RERANKER_FILE: [_reranker_example(record, chosen, copy, order, lesson, prompts) for copy, order in enumerate(orders)]
    }
    if references(record) and (chosen or options.closed_book or record.gold_passage_ids == []):
        files[GENERATOR_FILE] = [_generator_example(record, _with_noise(record, chosen, options), lesson, prompts)]
    return Emission(f"SFT part, target of {len(chosen)}" if chosen else "SFT part, target None", files)


def _with_noise(record: LabelledQuestion, chosen: tuple[int, ...], options: CloningOptions) -> list[int]:
    """The chosen positions in their order, with others between them that hold neither evidence nor an answer."""
    gold, answers = set(record.gold_passage_ids or ()), short_answers(record)
    others = [
        position
        for position, doc in enumerate(record.docs)
        if position not in chosen and doc.id not in gold and not has_answer(doc, answers)
    ]
    drawn, shown = generator("noise", options.seed, record.id), list(chosen)
    for position in drawn.sample(others, min(options.noise, len(others))):
        shown.insert(drawn.randint(0, len(shown)), position)
    return shown


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


def _generator_example(record: LabelledQuestion, shown: Sequence[int], lesson: int, prompts: PromptSet) -> ChatExample:
    chat = prompts.generator(record, [record.docs[position] for position in shown])
    return ChatExample(
        id=record.id, role="generator", lesson=lesson, system=chat.system, user=chat.user, assistant=references(record)[0]
    )
