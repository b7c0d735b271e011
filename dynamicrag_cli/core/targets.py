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

    Evidence is every gold passage if gold ids are known, else one passage with an answer string. The result is empty when no
    passage is needed or none of the evidence is among the candidates, and None when nothing tells what the evidence is (yes/no,
    label and long-answer questions without gold ids). Gold passages that retrieval missed are not waited for. A
    target longer than `max_passages` is cut.
    """
    order = score_order(record.relevance.scores)
    if record.gold_passage_ids is not None:
        gold = set(record.gold_passage_ids)
        places = [rank for rank, position in enumerate(order) if record.docs[position].id in gold]
        needed = places[-1:] if places else []
    elif answers := short_answers(record):
        needed = [rank for rank, position in enumerate(order) if has_answer(record.docs[position], answers)][:1]
    else:
        return None
    return tuple(order[: needed[0] + 1])[:max_passages] if needed else ()


def gold_target(record: LabelledQuestion, _threshold: float | None, max_passages: int) -> tuple[int, ...] | None:
    """The gold passages among the candidates in score order, at most `max_passages`, and nothing in front of them.

    Empty when no passage is needed or retrieval brought none of them; None where gold ids are unknown.
    """
    if record.gold_passage_ids is None:
        return None
    gold = set(record.gold_passage_ids)
    return tuple(position for position in score_order(record.relevance.scores) if record.docs[position].id in gold)[:max_passages]


TARGETS: dict[str, Callable[[LabelledQuestion, float | None, int], tuple[int, ...] | None]] = {
    "threshold": threshold_target,
    "evidence": evidence_target,
    "gold": gold_target,
}
