"""`eval` of candidates: how high the wanted passages stand in retrieval order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dynamicrag_cli.core.ranking import MATCHES, Ranked, is_judged
from dynamicrag_cli.core.records import Question, QuestionScores, RetrievedQuestion
from dynamicrag_cli.stages.evaluate import summaries

# Rankings by question id, cutoffs and whether one hit is enough, to scores by question id.
RankScores = Callable[[Mapping[str, Ranked], Sequence[int]], Mapping[str, dict[str, float]]]


def evaluate_candidates(
    records: Iterable[RetrievedQuestion],
    gold: Mapping[str, Question],
    name: str,
    rank_scores: RankScores,
    cutoffs: Sequence[int],
    match: str,
    seed: int = 0,
) -> tuple[dict[str, Any], list[QuestionScores]]:
    """The report of one file of candidates and its per-question scores, in the order of `gold`.

    A question without candidates counts as a failure. Questions of which nobody knows what should be found, or for which there is
    nothing to find, are in no mean; the report has their number.

    Raises:
        ValueError: No record belongs to a gold question, or nothing says what should be found.
    """
    judged = {key: question for key, question in gold.items() if is_judged(question, match)}
    if not judged:
        need = {"id": "gold_passage_ids", "title": "titles in meta.gold_titles", "answer": "short answers"}[match]
        others = " or ".join(f"--match {other}" for other in MATCHES if other != match)
        raise ValueError(f"none of the {len(gold)} gold questions has {need}, which --match {match} needs; type {others}")
    ranked: dict[str, Ranked] = {}
    seen, strangers, n_candidates = 0, 0, 0
    for record in records:
        if record.id not in gold:
            strangers += 1
            continue
        seen += 1
        n_candidates += len(record.docs)
        if record.id in judged:
            ranked[record.id] = MATCHES[match](judged[record.id], record.docs)
    if not seen:
        raise ValueError(f"none of the {strangers} records belongs to a gold question; are the ids of one data set?")
    empty = Ranked((), frozenset())
    scores = rank_scores({key: ranked.get(key, empty) for key in judged}, cutoffs)
    rows = [QuestionScores(id=key, system=name, dataset=question.dataset, scores=scores[key]) for key, question in judged.items()]
    report = {
        "system": name,
        "match": match,
        "questions": len(gold),
        "not_judged": len(gold) - len(judged),
        "missing": len(gold) - seen,
        "not_in_gold": strangers,
        "mean_candidates": n_candidates / seen,
        **summaries(rows, seed),
    }
    return report, rows
