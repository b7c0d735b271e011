import pytest

from dynamicrag_cli.core.records import QuestionScores
from dynamicrag_cli.stages.evaluate import averaged, collect, evaluate, has_gold_answer, report, score, score_rollout, summarize
from tests.builders import GOLD, prediction, question, rollout

SELECTION = {"selection_f1", "selection_precision", "selection_recall"}


def scores_of(made, **fields):
    return score_rollout(question(**fields), made, "sft").scores


def test_scores_of_a_right_answer():
    scores = scores_of(rollout("ab"), gold_passage_ids=["a"])
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
    assert scores_of(rollout("a", "In Donaueschingen"), dataset="triviaqa") == {"em": 0.0, "contains": 1.0, "headline": 0.0}
    assert scores_of(rollout("a", "supported"), dataset="fever", answers=["SUPPORTS"]) == {"accuracy": 1.0, "headline": 1.0}


def test_selection_is_scored_only_where_gold_is_known():
    assert not SELECTION & set(scores_of(rollout("a")))
    assert scores_of(rollout(""), gold_passage_ids=[])["selection_f1"] == 1.0
    assert scores_of(rollout("a"), gold_passage_ids=[])["selection_f1"] == 0.0


@pytest.mark.parametrize(
    "status", ["extra_text", "duplicate", "out_of_range", "unbracketed", "no_identifier", "empty", "truncated", "failed"]
)
def test_malformed_selection_is_a_failure(status):
    scores = scores_of(rollout("a", status=status), gold_passage_ids=["a"])
    assert set(scores) > SELECTION
    assert set(scores.values()) == {0.0}


def test_missing_answer_is_a_wrong_answer():
    scores = scores_of(rollout("a", None), gold_passage_ids=["a"])
    assert (scores["headline"], scores["f1"]) == (0.0, 0.0)


def test_missing_prediction_scores_0_everywhere():
    scores = score_rollout(question(gold_passage_ids=["a"]), None, "sft").scores
    assert set(scores) == {*SELECTION, "em", "f1", "contains", "headline"}
    assert set(scores.values()) == {0.0}


def test_gold_of_the_question_counts_not_that_of_the_prediction():
    asked = question(answers=["Ulm"], dataset="triviaqa")
    assert score_rollout(asked, rollout("a"), "sft").scores["em"] == 0.0


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
    assert table["f1"] == {"mean": 0.5, "low": pytest.approx(0.0125), "high": pytest.approx(0.9875), "n": 1}


def test_answer_given_is_scored_as_it_is():
    assert scores_of(rollout("a", f"It is {GOLD}."))["contains"] == 1.0
    assert scores_of(rollout("a", ""))["contains"] == 0.0


def test_questions_without_a_gold_answer_are_in_no_answer_score_and_counted():
    asked = {"right": question(id="right"), "open": question(id="open", answers=[], gold_passage_ids=["a"])}
    report, rows = evaluate([prediction(rollout("a"), id="right"), prediction(rollout("a"), id="open")], asked, "sft")
    assert (report["no_gold_answer"], report["scores"]["headline"]["n"], report["scores"]["headline"]["mean"]) == (1, 1, 1.0)
    assert rows[1].scores["selection_f1"] == 1.0


@pytest.mark.parametrize(("answers", "known"), [(["SUPPORTS"], True), (["nei"], True), (["perhaps"], False), ([], False)])
def test_a_gold_label_that_names_none_can_not_be_met(answers, known):
    assert has_gold_answer(question(dataset="fever", answers=answers)) is known


def test_asked_metrics_replace_those_of_the_task():
    scores = score_rollout(question(dataset="triviaqa"), rollout("a"), "sft", ["f1", "em"]).scores
    assert list(scores) == ["f1", "em", "headline"]


def test_predictions_of_another_data_set_by_name_are_counted():
    kept = collect([prediction(rollout("a"), dataset="nq")], {"q-1": question()}, "sft")
    assert (kept.other_dataset, kept.selectors) == (1, {"llm": 1})


def test_it_is_kept_whether_gold_was_offered():
    asked = {name: question(id=name, gold_passage_ids=gold) for name, gold in [("in", ["b"]), ("out", ["z"]), ("none", [])]}
    kept = collect([prediction(rollout("a"), id=name) for name in asked], asked, "sft")
    assert kept.gold_offered == {"in": True, "out": False, "none": False}


def test_repeats_are_averaged_question_by_question():
    asked = {"x": question(id="x"), "y": question(id="y")}
    first = [prediction(rollout("a"), id="x"), prediction(rollout("a", "Ulm"), id="y")]
    second = [prediction(rollout("ab"), id="x")]
    files = [collect(part, asked, "sft") for part in (first, second)]
    scored = [score(file, asked) for file in files]
    assert [row.scores["em"] for row in averaged(scored)] == [1.0, 0.0]
    made = report(files, scored, asked)
    assert (made["repeats"], made["missing"], made["mean_passages"]) == (2, 1, pytest.approx(4 / 3))
    assert made["repeat_sd"]["em"] == 0.0
    assert "repeats" not in report(files[:1], scored[:1], asked)


def test_claim_recall_is_the_share_of_claims_that_the_answer_entails():
    claims = {"claims": ["rises", "is long", "is blue"]}
    asked = {name: question(id=name, dataset="eli5", meta=claims) for name in ("some", "silent", "malformed", "missing")}
    asked["plain"] = question(id="plain")
    made = [
        prediction(rollout("a", "it rises and is blue"), id="some"),
        prediction(rollout("a", " "), id="silent"),
        prediction(rollout("a", "it rises", status="duplicate"), id="malformed"),
    ]
    asked_pairs = []

    def entails(pairs):
        asked_pairs.extend(pairs)
        return [claim in text for text, claim in pairs]

    rows = score(collect(made, asked, "sft"), asked, entails=entails)
    assert [row.scores.get("claim_recall") for row in rows] == [pytest.approx(2 / 3), 0.0, 0.0, 0.0, None]
    assert len(asked_pairs) == 3
