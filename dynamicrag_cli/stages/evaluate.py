"""`eval`: predictions against gold questions: per-question scores, then means with intervals.

A question without a prediction and one with a malformed selection count as failures: all their scores are 0. A missing answer is
0 in the answer metrics. Each has its own column; nothing is dropped from an average but questions that have no gold answer, whose
number stands in the report.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from dynamicrag_cli.core.identifiers import WELL_FORMED
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.metrics import METRICS, parse_label, selection_scores
from dynamicrag_cli.core.records import Prediction, Question, QuestionScores, Rollout
from dynamicrag_cli.core.statistics import UNIT, estimate
from dynamicrag_cli.core.tasks import task_of

HEADLINE = "headline"
CLAIM_RECALL = "claim_recall"
SELECTION = {"selection_f1": "f1", "selection_precision": "precision", "selection_recall": "recall"}
# `map`, or one that uses several processes.
Apply = Callable[[Callable[[Any], QuestionScores], list[Any]], Iterable[QuestionScores]]
# (text, claim) pairs in, whether the text entails the claim out.
Entails = Callable[[Sequence[tuple[str, str]]], Sequence[bool]]


@dataclass
class System:
    """What is kept of one file of predictions: everything but the passages.

    Attributes:
        rollouts: By question id, in the order of the file; only those of gold questions.
        selectors: How often each selector made a prediction.
        gold_offered: For questions with gold ids, whether one of them was among the candidates.
        not_in_gold: Predictions whose question is not among the gold ones.
        other_dataset: Predictions that name another data set than their gold question.
    """

    name: str
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    selectors: Counter[str] = field(default_factory=Counter)
    gold_offered: dict[str, bool] = field(default_factory=dict)
    not_in_gold: int = 0
    other_dataset: int = 0


@dataclass(frozen=True)
class Scored:
    """A system with its scores.

    Attributes:
        files: Its repeats, one `System` per file.
        rows: One per gold question, averaged over the repeats.
        report: Counts, and means with intervals.
    """

    files: list[System]
    rows: list[QuestionScores]
    report: dict[str, Any]


def collect(predictions: Iterable[Prediction], gold: Mapping[str, Question], name: str) -> System:
    """Read predictions, keeping what is scored.

    Raises:
        ValueError: There is no prediction, or none belongs to a gold question.
    """
    system = System(name)
    for prediction in predictions:
        question = gold.get(prediction.id)
        if question is None:
            system.not_in_gold += 1
            continue
        system.rollouts[prediction.id] = prediction.rollout
        system.selectors[prediction.selector] += 1
        system.other_dataset += prediction.dataset != question.dataset
        if question.gold_passage_ids is not None:
            wanted = question.gold_passage_ids
            system.gold_offered[question.id] = bool(wanted) and any(doc.id in wanted for doc in prediction.docs)
    if not system.rollouts and not system.not_in_gold:
        raise ValueError("no prediction in it can be used")
    if not system.rollouts:
        raise ValueError(f"none of the {system.not_in_gold} predictions belongs to a gold question; are the ids of one data set?")
    return system


def has_gold_answer(question: Question) -> bool:
    """Whether any reply could be right: there is a gold answer, and for a labelled task one that names a label."""
    labels = task_of(question.dataset).labels
    if labels:
        return any(parse_label(answer, labels) is not None for answer in question.answers)
    return bool(question.answers or references(question))


def score_rollout(question: Question, rollout: Rollout | None, system: str, metrics: Sequence[str] = ()) -> QuestionScores:
    """All scores of one question for one system, each in [0, 1].

    `headline` is the first of `metrics` (default: those of the question's task). Selection scores are there only where gold ids
    are known, answer scores only where a gold answer is.
    """
    task = task_of(question.dataset)
    usable = rollout is not None and rollout.status in WELL_FORMED
    scores: dict[str, float] = {}
    if question.gold_passage_ids is not None:
        if rollout is not None and usable:
            found = selection_scores(rollout.selection, question.gold_passage_ids)
            for name, part in SELECTION.items():
                scores[name] = found[part]
        else:
            scores.update(dict.fromkeys(SELECTION, 0.0))
    if has_gold_answer(question):
        answer = rollout.answer if rollout is not None and usable else None
        names = metrics or task.metrics
        for name in names:
            scores[name] = 0.0 if answer is None else METRICS[name](answer, question.answers, question.meta, task)
        scores[HEADLINE] = scores[names[0]]
    return QuestionScores(id=question.id, system=system, dataset=question.dataset, scores=scores)


def _score_pair(system: str, metrics: Sequence[str], pair: tuple[Question, Rollout | None]) -> QuestionScores:
    return score_rollout(*pair, system, metrics)


def score(
    system: System, gold: Mapping[str, Question], metrics: Sequence[str] = (), apply: Apply = map, entails: Entails | None = None
) -> list[QuestionScores]:
    """The scores of every gold question, in the order of `gold`; claim recall only with `entails`."""
    pairs = [(question, system.rollouts.get(name)) for name, question in gold.items()]
    rows = list(apply(partial(_score_pair, system.name, metrics), pairs))
    if entails is not None:
        _add_claim_recall(rows, pairs, entails)
    return rows


def _add_claim_recall(rows: Sequence[QuestionScores], pairs: Sequence[tuple[Question, Rollout | None]], entails: Entails) -> None:
    """ALCE's claim recall (Gao et al. 2023): the share of the gold claims that the answer entails."""
    jobs: list[tuple[str, str]] = []
    owners: list[int] = []
    for index, (question, rollout) in enumerate(pairs):
        claims = [str(claim) for claim in question.meta.get("claims") or []]
        answer = rollout.answer if rollout is not None and rollout.status in WELL_FORMED else None
        if claims:
            rows[index].scores[CLAIM_RECALL] = 0.0
        if answer and answer.strip():
            jobs += [(answer, claim) for claim in claims]
            owners += [index] * len(claims)
    share = Counter(owners)
    for index, held in zip(owners, entails(jobs), strict=True):
        rows[index].scores[CLAIM_RECALL] += held / share[index]


def averaged(repeats: Sequence[Sequence[QuestionScores]]) -> list[QuestionScores]:
    """The scores of one system whose repeats (seeds) answered the same questions: per question, the mean over the repeats."""
    if len(repeats) == 1:
        return list(repeats[0])
    rows = []
    for group in zip(*repeats, strict=True):
        scores = {name: sum(row.scores[name] for row in group) / len(group) for name in group[0].scores}
        rows.append(QuestionScores(id=group[0].id, system=group[0].system, dataset=group[0].dataset, scores=scores))
    return rows


def report(
    repeats: Sequence[System],
    scored: Sequence[Sequence[QuestionScores]],
    gold: Mapping[str, Question],
    seed: int = 0,
) -> dict[str, Any]:
    """The report of one system: counts over all its repeats, shares and means over all of them, intervals over questions.

    Args:
        repeats: One file of predictions, or several of the same system (seeds).
        scored: Their scores, shape (len(repeats), len(gold)).
        gold: The gold questions.
        seed: Seed of the bootstrap.
    """
    rows = averaged(scored)
    rollouts = [rollout for system in repeats for rollout in system.rollouts.values()]
    tokens = [rollout.n_reader_tokens for rollout in rollouts if rollout.n_reader_tokens is not None]
    asked = len(gold) * len(repeats)
    made: dict[str, Any] = {
        "system": repeats[0].name,
        "selector": ", ".join(sorted({name for system in repeats for name in system.selectors})),
        "questions": len(gold),
        "missing": asked - len(rollouts),
        "not_in_gold": sum(system.not_in_gold for system in repeats),
        "other_dataset": sum(system.other_dataset for system in repeats),
        "no_gold_answer": sum(HEADLINE not in row.scores for row in rows),
        "none_share": sum(rollout.status == "none" for rollout in rollouts) / asked,
        "malformed_share": sum(rollout.status not in WELL_FORMED for rollout in rollouts) / asked,
        "no_answer_share": sum(rollout.answer is None for rollout in rollouts) / asked,
        "mean_passages": sum(len(rollout.selection) - rollout.n_unread for rollout in rollouts) / len(rollouts),
        "mean_reader_tokens": sum(tokens) / len(tokens) if tokens else None,
        **summaries(rows, seed),
    }
    if len(repeats) > 1:
        means = [_means(part) for part in scored]
        made["repeats"] = len(repeats)
        made["repeat_sd"] = {name: float(np.std([part[name] for part in means], ddof=1)) for name in means[0]}
    return made


def evaluate(
    predictions: Iterable[Prediction], gold: Mapping[str, Question], system: str, seed: int = 0
) -> tuple[dict[str, Any], list[QuestionScores]]:
    """The report of one file of predictions and its per-question scores, in the order of `gold`.

    Raises:
        ValueError: No prediction belongs to a gold question.
    """
    kept = collect(predictions, gold, system)
    rows = score(kept, gold)
    return report([kept], [rows], gold, seed), rows


def columns(rows: Iterable[QuestionScores]) -> dict[str, list[float]]:
    """The values of every score, over the questions that have it."""
    rows = list(rows)
    if len({tuple(row.scores) for row in rows}) == 1:
        # The usual case, in a third of the time.
        return dict(zip(rows[0].scores, map(list, zip(*(row.scores.values() for row in rows), strict=True)), strict=True))
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row.scores.items():
            values[name].append(value)
    return values


def _means(rows: Iterable[QuestionScores]) -> dict[str, float]:
    return {name: sum(column) / len(column) for name, column in columns(rows).items()}


def summaries(rows: Sequence[QuestionScores], seed: int) -> dict[str, Any]:
    """`scores` over all questions, and `by_dataset`."""
    whole = summarize(rows, seed)
    names = sorted({row.dataset for row in rows})
    if len(names) == 1:
        return {"scores": whole, "by_dataset": {names[0]: whole}}
    parts = {name: summarize([row for row in rows if row.dataset == name], seed) for name in names}
    return {"scores": whole, "by_dataset": parts}


def summarize(rows: Sequence[QuestionScores], seed: int) -> dict[str, dict[str, float]]:
    """Mean, interval and number of questions of every score; a score's mean is over the questions that have it."""
    return {name: asdict(estimate(column, seed, span=UNIT)) for name, column in columns(rows).items()}
