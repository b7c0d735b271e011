"""Selectors: how `infer` decides which candidates the reader reads. All but `llm` are pure functions of the record."""

from collections.abc import Callable
from dataclasses import dataclass

from dynamicrag_cli.core.errors import InputError, UsageError, unknown_name
from dynamicrag_cli.core.records import RetrievedQuestion

Positions = tuple[int, ...]


@dataclass(frozen=True)
class Selector:
    """A parsed `--selector`: its name and, for `top-k`, how many passages it takes."""

    name: str
    k: int | None = None

    def __str__(self) -> str:
        return self.name if self.k is None else f"{self.name}:{self.k}"


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


def parse_selector(text: str) -> Selector:
    """Read `llm`, `none`, `all`, `top-k:K` or `gold`.

    Raises:
        UsageError: Another name, or a K that is not a positive number.
    """
    name, colon, argument = text.partition(":")
    if name not in PURE_SELECTORS and name != LLM_SELECTOR:
        raise unknown_name("selector", name, [*PURE_SELECTORS, LLM_SELECTOR])
    if name == "top-k":
        if not argument.isdecimal() or int(argument) < 1:
            raise UsageError(f"selector 'top-k' needs a number of passages of at least 1, such as top-k:3 (got {text!r})")
        return Selector(name, int(argument))
    if colon:
        raise UsageError(f"selector {name!r} takes no argument (got {text!r})")
    return Selector(name)
