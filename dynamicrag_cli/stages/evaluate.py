"""`eval`: predictions against gold questions: per-question scores, then means with intervals.

A question without a prediction and one with a malformed selection count as failures: all their scores are 0. A missing answer is
0 in the answer metrics. Each has its own column; nothing is dropped from an average.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from dynamicrag_cli.core.identifiers import WELL_FORMED
from dynamicrag_cli.core.metrics import METRICS, selection_scores
from dynamicrag_cli.core.records import Prediction, Question, QuestionScores
from dynamicrag_cli.core.statistics import estimate
from dynamicrag_cli.core.tasks import task_of

HEADLINE = "headline"
SELECTION = ("selection_f1", "selection_precision", "selection_recall")


def score_prediction(question: Question, prediction: Prediction | None, system: str) -> QuestionScores:
    """All scores of one question for one system, each in [0, 1].

    `headline` is the first metric of the question's task; selection scores are there only where gold ids are known; `passages`
    and the like are not scores and are kept by `System`.
    """
    task = task_of(question.dataset)
    usable = prediction is not None and prediction.rollout.status in WELL_FORMED
    scores: dict[str, float] = {}
    if question.gold_passage_ids is not None:
        if prediction is not None and usable:
            found = selection_scores(prediction.rollout.selection, question.gold_passage_ids)
            scores.update({name: found[name.removeprefix("selection_")] for name in SELECTION})
        else:
            scores.update(dict.fromkeys(SELECTION, 0.0))
    answer = prediction.rollout.answer if prediction is not None and usable else None
    for metric in task.metrics:
        scores[metric] = 0.0 if answer is None else METRICS[metric](answer, question.answers, question.meta, task)
    scores[HEADLINE] = scores[task.metrics[0]]
    return QuestionScores(id=question.id, system=system, dataset=question.dataset, scores=scores)


def evaluate(
    predictions: Iterable[Prediction], gold: Mapping[str, Question], system: str, seed: int = 0
) -> tuple[dict[str, object], list[QuestionScores]]:
    """The report of one system and its per-question scores, in the order of `gold`.

    Raises:
        ValueError: No prediction belongs to a gold question.
    """
    scored: dict[str, QuestionScores] = {}
    counts: Counter[str] = Counter()
    passages: list[int] = []
    tokens: list[int] = []
    for prediction in predictions:
        if prediction.id not in gold:
            counts["not_in_gold"] += 1
            continue
        rollout = prediction.rollout
        scored[prediction.id] = score_prediction(gold[prediction.id], prediction, system)
        passages.append(len(rollout.selection) - rollout.n_unread)
        if rollout.n_reader_tokens is not None:
            tokens.append(rollout.n_reader_tokens)
        counts["none"] += rollout.status == "none"
        counts["malformed"] += rollout.status not in WELL_FORMED
        counts["no_answer"] += rollout.answer is None
    if not scored:
        raise ValueError(
            f"none of the {counts['not_in_gold']} predictions belongs to a gold question; are the ids of one data set?"
        )
    rows = [scored.get(name) or score_prediction(question, None, system) for name, question in gold.items()]
    report: dict[str, object] = {
        "system": system,
        "questions": len(gold),
        "missing": len(gold) - len(scored),
        "not_in_gold": counts["not_in_gold"],
        "none_share": counts["none"] / len(gold),
        "malformed_share": counts["malformed"] / len(gold),
        "no_answer_share": counts["no_answer"] / len(gold),
        "mean_passages": sum(passages) / len(passages),
        "mean_reader_tokens": sum(tokens) / len(tokens) if tokens else None,
        "scores": summarize(rows, seed),
        "by_dataset": {
            name: summarize([row for row in rows if row.dataset == name], seed) for name in sorted({row.dataset for row in rows})
        },
    }
    return report, rows


def summarize(rows: Sequence[QuestionScores], seed: int) -> dict[str, dict[str, float]]:
    """Mean, interval and number of questions of every score; a score's mean is over the questions that have it."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row.scores.items():
            values[name].append(value)
    return {name: asdict(estimate(column, seed)) for name, column in values.items()}
