import pytest

from dynamicrag_cli.core.records import QuestionScores
from dynamicrag_cli.stages.evaluate import evaluate, score_prediction, summarize
from tests.builders import GOLD, prediction, question, rollout

SELECTION = {"selection_f1", "selection_precision", "selection_recall"}


def score(made, **fields):
    return score_prediction(question(**fields), prediction(made), "sft").scores


def test_scores_of_a_right_answer():
    scores = score(rollout("ab"), gold_passage_ids=["a"])
    assert scores == pytest.approx(
        {
            "selection_precision": 0.5,
            "selection_recall": 1.0,
            "selection_f1": 2 / 3,
            "em": 1.0,
            "f1": 1.0,
            "contains": 1.0,
            "headline": 1.0,
        }
    )


def test_headline_is_the_first_metric_of_the_task():
    assert score(rollout("a", "In Donaueschingen"), dataset="triviaqa") == {"em": 0.0, "contains": 1.0, "headline": 0.0}
    assert score(rollout("a", "supported"), dataset="fever", answers=["SUPPORTS"]) == {"accuracy": 1.0, "headline": 1.0}


def test_selection_is_scored_only_where_gold_is_known():
    assert not SELECTION & set(score(rollout("a")))
    assert score(rollout(""), gold_passage_ids=[])["selection_f1"] == 1.0
    assert score(rollout("a"), gold_passage_ids=[])["selection_f1"] == 0.0


@pytest.mark.parametrize(
    "status", ["extra_text", "duplicate", "out_of_range", "unbracketed", "no_identifier", "empty", "truncated", "failed"]
)
def test_malformed_selection_is_a_failure(status):
    scores = score(rollout("a", status=status), gold_passage_ids=["a"])
    assert set(scores) > SELECTION
    assert set(scores.values()) == {0.0}


def test_missing_answer_is_a_wrong_answer():
    scores = score(rollout("a", None), gold_passage_ids=["a"])
    assert (scores["headline"], scores["f1"]) == (0.0, 0.0)


def test_missing_prediction_scores_0_everywhere():
    scores = score_prediction(question(gold_passage_ids=["a"]), None, "sft").scores
    assert set(scores) == {*SELECTION, "em", "f1", "contains", "headline"}
    assert set(scores.values()) == {0.0}


def test_gold_of_the_question_counts_not_that_of_the_prediction():
    asked = question(answers=["Ulm"], dataset="triviaqa")
    assert score_prediction(asked, prediction(rollout("a")), "sft").scores["em"] == 0.0


GOLD_QUESTIONS = {
    name: question(id=name, gold_passage_ids=["a"], dataset=dataset)
    for name, dataset in [("right", "qa"), ("wrong", "qa"), ("malformed", "nq"), ("missing", "nq")]
}
PREDICTIONS = [
    prediction(rollout("", "Ulm", n_reader_tokens=10), id="wrong"),
    prediction(rollout("ab", n_reader_tokens=40), id="right"),
    prediction(rollout("a", status="duplicate"), id="malformed"),
    prediction(rollout("a"), id="stranger"),
]


def test_report():
    report, rows = evaluate(PREDICTIONS, GOLD_QUESTIONS, "sft")
    shares = {
        name: report[name] for name in ("questions", "missing", "not_in_gold", "none_share", "malformed_share", "no_answer_share")
    }
    assert shares == {
        "questions": 4,
        "missing": 1,
        "not_in_gold": 1,
        "none_share": 0.25,
        "malformed_share": 0.25,
        "no_answer_share": 0.0,
    }
    assert report["system"] == "sft"
    assert report["mean_passages"] == 1.0
    assert report["mean_reader_tokens"] == 25.0
    assert [row.id for row in rows] == list(GOLD_QUESTIONS)
    assert report["scores"]["em"]["mean"] == 0.25
    assert report["scores"]["headline"]["n"] == 4
    assert report["scores"]["selection_f1"]["mean"] == pytest.approx(1 / 6)


def test_report_by_dataset():
    report, _ = evaluate(PREDICTIONS, GOLD_QUESTIONS, "sft")
    assert {name: table["em"]["mean"] for name, table in report["by_dataset"].items()} == {"nq": 0.0, "qa": 0.5}
    assert {table["em"]["n"] for table in report["by_dataset"].values()} == {2}


def test_missing_questions_stay_in_the_average():
    asked = {str(number): question(id=str(number)) for number in range(4)}
    report, rows = evaluate([prediction(rollout("a"), id="0")], asked, "sft")
    assert report["scores"]["em"]["mean"] == 0.25
    assert len(rows) == 4


def test_answerless_predictions_have_a_share():
    report, _ = evaluate([prediction(rollout("a", None))], {"q-1": question()}, "sft")
    assert (report["no_answer_share"], report["mean_reader_tokens"]) == (1.0, None)


def test_order_of_the_predictions_does_not_count():
    assert evaluate(PREDICTIONS, GOLD_QUESTIONS, "sft") == evaluate(PREDICTIONS[::-1], GOLD_QUESTIONS, "sft")


def test_predictions_of_another_data_set_are_refused():
    with pytest.raises(ValueError, match="none of the 1 predictions belongs to a gold question"):
        evaluate([prediction(rollout("a"), id="stranger")], {"q-1": question()}, "sft")


def test_mean_is_over_the_questions_that_have_the_score():
    rows = [
        QuestionScores(id=name, system="s", dataset="qa", scores=scores)
        for name, scores in [("1", {"em": 1.0}), ("2", {"em": 0.0, "f1": 0.5})]
    ]
    table = summarize(rows, 0)
    assert (table["em"]["mean"], table["em"]["n"]) == (0.5, 2)
    assert table["f1"] == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 1}


def test_answer_given_is_scored_as_it_is():
    assert score(rollout("a", f"It is {GOLD}."))["contains"] == 1.0
    assert score(rollout("a", ""))["contains"] == 0.0
