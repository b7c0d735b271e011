"""Cloning targets: which candidates, in which order, the reranker is taught to write.

The original shuffled the true passages and padded them with false ones; here a target follows the teacher's order, stops where
the evidence is complete, and is one per question.
"""

from collections.abc import Callable, Sequence

from dynamicrag_cli.core.labels import has_answer, short_answers
from dynamicrag_cli.core.records import LabelledQuestion

MAX_PASSAGES = 15
DEFAULT_THRESHOLD = 0.8


def score_order(scores: Sequence[float]) -> list[int]:
    """Positions by falling score; equal scores keep retrieval order."""
    return sorted(range(len(scores)), key=lambda position: -scores[position])


def threshold_target(record: LabelledQuestion, threshold: float | None, max_passages: int) -> tuple[int, ...]:
    """The paper's target: positions with relevance >= threshold in score order, at most `max_passages`."""
    cut = threshold if threshold is not None else record.relevance.threshold
    cut = DEFAULT_THRESHOLD if cut is None else cut
    scores = record.relevance.scores
    return tuple(position for position in score_order(scores) if scores[position] >= cut)[:max_passages]


def evidence_target(record: LabelledQuestion, _threshold: float | None, max_passages: int) -> tuple[int, ...] | None:
    """The shortest prefix of the score order that holds all the evidence.

    Evidence is every gold passage among the candidates, and where there is none, one passage with an answer string: it may stand
    in other passages than those that somebody marked. The result is empty when no passage is needed or none of the evidence is
    among the candidates, and None when nothing tells what the evidence is (yes/no, label and long-answer questions without gold
    ids), or when the prefix is longer than `max_passages`: cut, it would teach to read much and to miss the evidence. Gold
    passages that retrieval missed are not waited for.
    """
    order = score_order(record.relevance.scores)
    gold, answers = record.gold_passage_ids, short_answers(record)
    if gold == []:
        return ()
    if gold is None and not answers:
        return None
    places = [rank for rank, position in enumerate(order) if record.docs[position].id in (gold or ())]
    needed = places[-1:] or [rank for rank, position in enumerate(order) if has_answer(record.docs[position], answers)][:1]
    n_read = needed[0] + 1 if needed else 0
    return tuple(order[:n_read]) if n_read <= max_passages else None


def gold_target(record: LabelledQuestion, _threshold: float | None, max_passages: int) -> tuple[int, ...] | None:
    """The gold passages among the candidates in score order, and nothing in front of them.

    Empty when no passage is needed or retrieval brought none of them; None where gold ids are unknown or there are more than
    `max_passages`.
    """
    if record.gold_passage_ids is None:
        return None
    gold = set(record.gold_passage_ids)
    found = tuple(position for position in score_order(record.relevance.scores) if record.docs[position].id in gold)
    return found if len(found) <= max_passages else None


TARGETS: dict[str, Callable[[LabelledQuestion, float | None, int], tuple[int, ...] | None]] = {
    "threshold": threshold_target,
    "evidence": evidence_target,
    "gold": gold_target,
}
