"""What a ranking is measured against: which of the ranked things are the wanted ones.

`id` compares passage ids with `gold_passage_ids`; `meta.grades`, where a question has them, say how much each is worth. `title`
compares titles, so that any passage of the wanted page counts. `answer` takes every candidate that holds an answer string
as wanted, as in DPR (Karpukhin et al. 2020), which says nothing about passages that retrieval missed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dynamicrag_cli.core.labels import has_answer, short_answers
from dynamicrag_cli.core.metrics import normalize
from dynamicrag_cli.core.records import Candidate, Question


@dataclass(frozen=True)
class Ranked:
    """What was ranked, best first and without repeats, and what should have been found.

    Attributes:
        gains: Graded judgements by item, for nDCG; None where every wanted item is worth 1.
    """

    items: tuple[str, ...]
    wanted: frozenset[str]
    gains: Mapping[str, int] | None = None


def gold_titles(question: Question) -> list[str]:
    """Titles of the pages that hold the evidence: `meta.gold_titles`, or HotpotQA's `meta.supporting_facts`."""
    titles = question.meta.get("gold_titles")
    if titles is None:
        facts = question.meta.get("supporting_facts") or []
        titles = facts.get("title") or [] if isinstance(facts, dict) else [fact[0] for fact in facts if fact]
    return [str(title) for title in titles]


def _grades(question: Question) -> dict[str, int] | None:
    """`meta.grades`, if it is what `drag convert --from trec-qrels` writes there: a whole number by passage id."""
    grades = question.meta.get("grades")
    return grades if isinstance(grades, dict) and all(isinstance(grade, int) for grade in grades.values()) else None


def _by_id(question: Question, docs: Sequence[Candidate]) -> Ranked:
    return Ranked(tuple(doc.id for doc in docs), frozenset(question.gold_passage_ids or ()), _grades(question))


def _by_title(question: Question, docs: Sequence[Candidate]) -> Ranked:
    items = dict.fromkeys(normalize(doc.title) for doc in docs)
    return Ranked(tuple(items), frozenset(map(normalize, gold_titles(question))))


def _by_answer(question: Question, docs: Sequence[Candidate]) -> Ranked:
    answers = short_answers(question)
    return Ranked(tuple(doc.id for doc in docs), frozenset(doc.id for doc in docs if has_answer(doc, answers)))


MATCHES: dict[str, Callable[[Question, Sequence[Candidate]], Ranked]] = {"id": _by_id, "title": _by_title, "answer": _by_answer}


def is_judged(question: Question, match: str) -> bool:
    """Whether anything says what should be found for this question; a question that needs no passage has nothing to find."""
    known = {"id": question.gold_passage_ids, "title": gold_titles(question), "answer": short_answers(question)}
    return bool(known[match])
