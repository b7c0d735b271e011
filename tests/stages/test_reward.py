import pytest

from dynamicrag_cli.core.records import RewardedQuestion
from dynamicrag_cli.core.rewards import PURE_TERMS
from dynamicrag_cli.stages.reward import reward
from tests.builders import rollout, sampled

DEFAULT = {"em": 0.4, "rouge": 0.4, "length": 0.2}


class ScriptedTerm:
    """Gives its values in turn and keeps the jobs that it saw."""

    def __init__(self, *values):
        self.values = values
        self.jobs = []

    def __call__(self, jobs):
        self.jobs += [(record.id, answer) for record, answer in jobs]
        return list(self.values)


def rewards(record, weights=DEFAULT, **terms):
    (made,) = reward([record], weights, terms)
    return made.rewards


def test_terms_and_total():
    record = sampled([rollout("b", n_reader_tokens=400), rollout("", "Vienna"), rollout("abc", "at Donaueschingen")])
    found = rewards(record)
    assert [made.terms for made in found] == [
        {"em": 1.0, "rouge": 1.0, "length": 0.5, "length_tokens": 0.2, "length_answer": 0.5},
        {"em": 0.0, "rouge": 0.0, "length": 1.0, "length_tokens": None, "length_answer": 0.5},
        {"em": 0.0, "rouge": pytest.approx(2 / 3), "length": 0.25, "length_tokens": None, "length_answer": pytest.approx(1 / 3)},
    ]
    assert [made.total for made in found] == pytest.approx([0.9, 0.2, 0.4 * 2 / 3 + 0.05])


def test_the_total_weighs_terms_of_models_too():
    weights = dict.fromkeys(("em", "bertscore", "rouge", "length", "judge"), 0.2)
    (found,) = rewards(sampled([rollout("abc")]), weights, bertscore=ScriptedTerm(0.9), judge=ScriptedTerm(0.8))
    assert found.total == pytest.approx(0.2 * (1 + 0.9 + 1 + 0.25 + 0.8))


def test_pure_terms_are_stored_without_a_weight_and_model_terms_are_not_computed():
    judge = ScriptedTerm()
    (found,) = rewards(sampled([rollout("a")]), {"em": 1.0, "judge": 0.0}, judge=judge)
    assert {*found.terms} == {*PURE_TERMS}
    assert found.total == 1.0
    assert judge.jobs == []


def test_rollout_without_an_answer_has_no_reward():
    (found,) = rewards(sampled([rollout("a", None, error="no memory")]))
    assert found.terms == dict.fromkeys(PURE_TERMS)
    assert found.total is None


@pytest.mark.parametrize("status", ["extra_text", "truncated", "duplicate"])
def test_malformed_selection_earns_no_length_reward(status):
    (found,) = rewards(sampled([rollout("a", status=status)]))
    assert {name: value for name, value in found.terms.items() if value is not None} == {"em": 1.0, "rouge": 1.0}
    assert found.total is None


def test_failed_model_term_is_null_and_so_is_the_total():
    found = rewards(sampled([rollout("a"), rollout("b")]), {"em": 0.5, "judge": 0.5}, judge=ScriptedTerm(None, 0.6))
    assert [made.terms["judge"] for made in found] == [None, 0.6]
    assert [made.total for made in found] == [None, pytest.approx(0.8)]


def test_model_term_sees_all_answers_at_once():
    judge = ScriptedTerm(0.1, 0.2, 0.3)
    records = [sampled([rollout("a", "x"), rollout("b", None)]), sampled([rollout("a", "y"), rollout("b", "")], id="q-2")]
    first, second = reward(records, {"judge": 1.0}, {"judge": judge})
    assert judge.jobs == [("q-1", "x"), ("q-2", "y"), ("q-2", "")]
    assert [made.total for made in first.rewards] == [0.1, None]
    assert [made.total for made in second.rewards] == [0.2, 0.3]


def test_question_without_answers_is_rejected_and_shifts_no_value():
    records = [sampled([rollout("a", "x")], answers=[]), sampled([rollout("a", "y")], id="q-2")]
    rejected, kept = reward(records, {"judge": 1.0}, {"judge": ScriptedTerm(0.2)})
    assert isinstance(rejected, ValueError)
    assert "no gold answers" in str(rejected)
    assert isinstance(kept, RewardedQuestion)
    assert kept.rewards[0].total == 0.2


def test_best_gold_answer_counts():
    (found,) = rewards(sampled([rollout("a", "Black Forest")], answers=["Donaueschingen", "the Black Forest"]))
    assert found.terms["em"] == 1.0
    # P = 2/2, R = 2/3: ROUGE keeps the article.
    assert found.terms["rouge"] == pytest.approx(0.8)


def test_label_tasks_are_rewarded_for_the_label():
    found = rewards(
        sampled([rollout("a", "It is supported."), rollout("b", "REFUTES")], dataset="fever", answers=["SUPPORTS"]), {"em": 1.0}
    )
    assert [made.total for made in found] == [1.0, 0.0]


def test_long_answers_are_the_rouge_references():
    record = sampled([rollout("a", "it rises at Donaueschingen")], meta={"long_answers": ["it rises at Donaueschingen"]})
    assert rewards(record, {"rouge": 1.0})[0].total == 1.0


def test_everything_else_of_the_record_is_kept():
    record = sampled([rollout("a")], meta={"topic": "x"}, split="train")
    (made,) = reward([record], DEFAULT, {})
    assert (made.rollouts, made.docs, made.meta, made.split) == (record.rollouts, record.docs, {"topic": "x"}, "train")


def test_model_term_that_is_not_a_number_has_failed():
    (found,) = rewards(sampled([rollout("a")]), {"judge": 1.0}, judge=ScriptedTerm(float("nan")))
    assert (found.terms["judge"], found.total) == (None, None)
