"""The contenders of a study: systems with the selector that made them and what kind of selector that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynamicrag_cli.core.records import Rollout
from dynamicrag_cli.core.selectors import LLM_SELECTOR, Selector, parse_selector
from dynamicrag_cli.stages.evaluate import HEADLINE, Scored

# Selectors that take the same number of passages whatever the question, in retrieval order: the sweep of an oracle.
SWEEP = ("none", "top-k", "all")
CEILING = "gold"


@dataclass(frozen=True)
class Row:
    """One system of the study.

    Attributes:
        family: `fixed` (one k for all questions), `dynamic`, `ceiling` (it knows the gold passages), or `order` (the choice of
            another system, read in another order).
        answers: Headline score by question, in [0, 1].
        rollouts: By question.
        gold_offered: By question with gold ids, whether a gold passage was among the candidates.
    """

    name: str
    selector: Selector
    family: str
    answers: Mapping[str, float]
    rollouts: Mapping[str, Rollout]
    gold_offered: Mapping[str, bool]

    def passages(self, key: str) -> int:
        """Passages that the reader read."""
        return len(self.rollouts[key].selection) - self.rollouts[key].n_unread

    def calls(self, key: str) -> int:
        """Calls of a language model: one for each reply of the reranker, one for an answer of the reader."""
        rollout = self.rollouts[key]
        n_selecting = (rollout.n_calls or 1) if self.selector.name == LLM_SELECTOR else 0
        return n_selecting + (rollout.n_reader_tokens is not None or rollout.answer is not None)


def family_of(selector: Selector) -> str:
    """`fixed`, `dynamic`, `ceiling` or `order`."""
    if selector.order:
        return "order"
    if selector.name == CEILING:
        return "ceiling"
    fixed = selector.name in SWEEP or selector.k is not None or (selector.bounds is not None and not selector.bounds.stops)
    return "fixed" if fixed else "dynamic"


def row_of(part: Scored) -> Row:
    """A scored file as a contender.

    Raises:
        ValueError: It holds predictions of several selectors.
    """
    (system,) = part.files
    if len(system.selectors) != 1:
        raise ValueError(
            f"{system.name} holds predictions of several selectors ({', '.join(sorted(system.selectors))}); split it"
        )
    selector = parse_selector(next(iter(system.selectors)))
    answers = {row.id: row.scores[HEADLINE] for row in part.rows if HEADLINE in row.scores}
    return Row(system.name, selector, family_of(selector), answers, system.rollouts, system.gold_offered)


def sweep_of(rows: Sequence[Row]) -> list[Row]:
    """The fixed numbers of passages in retrieval order, one row per number."""
    found = {str(row.selector): row for row in rows if row.selector.name in SWEEP and row.family == "fixed"}
    return list(found.values())


def best_fixed(rows: Sequence[Row], keys: Sequence[str]) -> Row:
    """The fixed k with the best mean answer, of equals the one that reads least."""
    fixed = [row for row in rows if row.family == "fixed"]
    return max(fixed, key=lambda row: (sum(row.answers[key] for key in keys), -sum(row.passages(key) for key in keys)))
