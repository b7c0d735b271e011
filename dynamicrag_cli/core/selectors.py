"""Selectors: how `infer` decides which candidates the reader reads: a model's, or pure functions of the record."""

from collections.abc import Callable
from dataclasses import dataclass

from dynamicrag_cli.core.errors import InputError, UsageError, unknown_name
from dynamicrag_cli.core.policy import Bounds, parse_bounds
from dynamicrag_cli.core.records import RetrievedQuestion

Positions = tuple[int, ...]


@dataclass(frozen=True)
class Selector:
    """A parsed `--selector`: its name and how many passages it takes.

    That is `k` passages, those of at least the relevance `threshold`, or a number within `bounds`; None where the name says all.
    """

    name: str
    k: int | None = None
    threshold: float | None = None
    bounds: Bounds | None = None

    def __str__(self) -> str:
        cut = None if self.threshold is None else f"threshold={self.threshold:g}"
        said = next((part for part in (self.k, cut, self.bounds) if part is not None), None)
        return self.name if said is None else f"{self.name}:{said}"


def _top_k(record: RetrievedQuestion, k: int | None) -> Positions:
    return tuple(range(min(k or 0, len(record.docs))))


def _gold(record: RetrievedQuestion, _k: int | None) -> Positions:
    if record.gold_passage_ids is None:
        raise InputError("the question has no gold_passage_ids, which the selector 'gold' needs")
    place = {doc.id: position for position, doc in enumerate(record.docs)}
    return tuple(place[name] for name in dict.fromkeys(record.gold_passage_ids) if name in place)


PURE_SELECTORS: dict[str, Callable[[RetrievedQuestion, int | None], Positions]] = {
    "none": lambda _record, _k: (),
    "all": lambda record, _k: tuple(range(len(record.docs))),
    "top-k": _top_k,
    "gold": _gold,
}
LLM_SELECTOR = "llm"
# Those of a small model of their own, --selector-model.
MODEL_SELECTORS = ("cross-encoder", "rrpo")


def parse_selector(text: str) -> Selector:
    """Read `llm`, `none`, `all`, `top-k:K`, `gold`, `cross-encoder:K`, `cross-encoder:threshold=T`, `rrpo` or `rrpo:MIN:MAX`.

    Raises:
        UsageError: Another name, or a K that is not a positive number.
    """
    name, colon, argument = text.partition(":")
    if name in MODEL_SELECTORS:
        return _model_selector(name, argument, text)
    if name not in PURE_SELECTORS and name != LLM_SELECTOR:
        raise unknown_name("selector", name, [*PURE_SELECTORS, LLM_SELECTOR, *MODEL_SELECTORS])
    if name == "top-k":
        if not argument.isdecimal() or int(argument) < 1:
            raise UsageError(f"selector 'top-k' needs a number of passages of at least 1, such as top-k:3 (got {text!r})")
        return Selector(name, int(argument))
    if colon:
        raise UsageError(f"selector {name!r} takes no argument (got {text!r})")
    return Selector(name)


def _model_selector(name: str, argument: str, text: str) -> Selector:
    if name == "rrpo":
        return Selector(name, bounds=parse_bounds(argument) if argument else None)
    if argument.isdecimal() and int(argument) >= 1:
        return Selector(name, int(argument))
    word, _, value = argument.partition("=")
    try:
        threshold = float(value) if word == "threshold" else float("nan")
    except ValueError:
        threshold = float("nan")
    if not 0 <= threshold <= 1:
        raise UsageError(
            "selector 'cross-encoder' needs a number of passages or a relevance in [0, 1], "
            f"such as cross-encoder:3 or cross-encoder:threshold=0.5 (got {text!r})"
        )
    return Selector(name, threshold=threshold)
