"""Selectors: how `infer` decides which candidates the reader reads: a model's, or pure functions of the record."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from dynamicrag_cli.core.errors import InputError, UsageError, unknown_name
from dynamicrag_cli.core.policy import Bounds, parse_bounds
from dynamicrag_cli.core.records import RetrievedQuestion
from dynamicrag_cli.core.splits import generator
from dynamicrag_cli.core.targets import score_order

Positions = tuple[int, ...]
Item = TypeVar("Item")
# Orders in which a selection can be handed on instead of its own.
ORDERS = ("reversed", "shuffled")


@dataclass(frozen=True)
class Selector:
    """A parsed `--selector`: its name and how many passages it takes.

    That is `k` passages, those of at least the relevance `threshold`, or a number within `bounds`; None where the name says all.
    `order` is one of `ORDERS`, or "" for the order of the choice.
    """

    name: str
    k: int | None = None
    threshold: float | None = None
    bounds: Bounds | None = None
    order: str = ""

    def __str__(self) -> str:
        cut = None if self.threshold is None else f"{'' if self.name == 'threshold' else 'threshold='}{self.threshold:g}"
        said = next((part for part in (self.k, cut, self.bounds) if part is not None), None)
        return self.name + (f":{said}" if said is not None else "") + (f",{self.order}" if self.order else "")


def _top_k(record: RetrievedQuestion, selector: Selector) -> Positions:
    return tuple(range(min(selector.k or 0, len(record.docs))))


def _threshold(record: RetrievedQuestion, selector: Selector) -> Positions:
    """The candidates that a teacher gave at least this relevance (default: what the teacher itself recommends), best first."""
    if record.relevance is None:
        raise InputError("the question has no relevance, which the selector 'threshold' needs; make it with drag rerank-teacher")
    cut = record.relevance.threshold if selector.threshold is None else selector.threshold
    if cut is None:
        raise InputError(f"the teacher {record.relevance.teacher!r} recommends no threshold; type one, such as threshold:0.5")
    scores = record.relevance.scores
    return tuple(position for position in score_order(scores) if scores[position] >= cut)


def _largest_gap(record: RetrievedQuestion, _selector: Selector) -> Positions:
    """All above the largest drop of the sorted scores (Adaptive-k, Taguchi et al. 2025): a teacher's, else the retriever's.

    Of equal drops the first counts; where nothing drops, all candidates are taken.
    """
    scores = [doc.score for doc in record.docs] if record.relevance is None else list(record.relevance.scores)
    known = [score for score in scores if score is not None and math.isfinite(score)]
    if len(known) < len(scores):
        raise InputError("a candidate has no score, which the selector 'largest-gap' needs; make them with drag retrieve")
    order = score_order(known)
    drops = [known[one] - known[other] for one, other in pairwise(order)]
    if not drops or max(drops) == 0:
        return tuple(order)
    return tuple(order[: drops.index(max(drops)) + 1])


def _gold(record: RetrievedQuestion, _selector: Selector) -> Positions:
    if record.gold_passage_ids is None:
        raise InputError("the question has no gold_passage_ids, which the selector 'gold' needs")
    place = {doc.id: position for position, doc in enumerate(record.docs)}
    return tuple(place[name] for name in dict.fromkeys(record.gold_passage_ids) if name in place)


PURE_SELECTORS: dict[str, Callable[[RetrievedQuestion, Selector], Positions]] = {
    "none": lambda _record, _selector: (),
    "all": lambda record, _selector: tuple(range(len(record.docs))),
    "top-k": _top_k,
    "threshold": _threshold,
    "largest-gap": _largest_gap,
    "gold": _gold,
}
LLM_SELECTOR = "llm"
# Those of a small model of their own, --selector-model.
MODEL_SELECTORS = ("cross-encoder", "rrpo")


def parse_selector(text: str) -> Selector:
    """Read a selector, with `,reversed` or `,shuffled` behind it for another order of what it chooses.

    `llm`, `none`, `all`, `top-k:K`, `threshold`, `threshold:T`, `largest-gap`, `gold`, `cross-encoder:K`,
    `cross-encoder:threshold=T`, `rrpo` or `rrpo:MIN:MAX`.

    Raises:
        UsageError: Another name or order, or a number that is out of range.
    """
    rule, comma, order = text.partition(",")
    if comma and order not in ORDERS:
        raise unknown_name("order of a selector", order, ORDERS)
    return replace(_parse_rule(rule), order=order)


def _parse_rule(text: str) -> Selector:
    name, colon, argument = text.partition(":")
    if name in MODEL_SELECTORS:
        return _model_selector(name, argument, text)
    if name not in PURE_SELECTORS and name != LLM_SELECTOR:
        raise unknown_name("selector", name, [*PURE_SELECTORS, LLM_SELECTOR, *MODEL_SELECTORS])
    if name == "top-k":
        if not argument.isdecimal() or int(argument) < 1:
            raise UsageError(f"selector 'top-k' needs a number of passages of at least 1, such as top-k:3 (got {text!r})")
        return Selector(name, int(argument))
    if name == "threshold" and colon:
        return Selector(
            name, threshold=_relevance(argument, "selector 'threshold' needs a relevance in [0, 1], such as threshold:0.5")
        )
    if colon:
        raise UsageError(f"selector {name!r} takes no argument (got {text!r})")
    return Selector(name)


def _model_selector(name: str, argument: str, text: str) -> Selector:
    if name == "rrpo":
        return Selector(name, bounds=parse_bounds(argument) if argument else None)
    if argument.isdecimal() and int(argument) >= 1:
        return Selector(name, int(argument))
    word, _, value = argument.partition("=")
    need = (
        "selector 'cross-encoder' needs a number of passages or a relevance in [0, 1], "
        f"such as cross-encoder:3 or cross-encoder:threshold=0.5 (got {text!r})"
    )
    return Selector(name, threshold=_relevance(value if word == "threshold" else "", need))


def _relevance(text: str, need: str) -> float:
    """A number in [0, 1], or the error that says what is needed."""
    try:
        value = float(text)
    except ValueError:
        raise UsageError(need) from None
    if not 0 <= value <= 1:
        raise UsageError(need)
    return value


def in_order(chosen: Sequence[Item], selector: Selector, question_id: str, seed: int = 0) -> list[Item]:
    """What was chosen, in the order that the selector asks for; a shuffle depends on (seed, question id) alone."""
    if selector.order == "shuffled":
        shuffled = list(chosen)
        generator("order", seed, question_id).shuffle(shuffled)
        return shuffled
    return list(reversed(chosen) if selector.order == "reversed" else chosen)
