"""The study on a small world in which every number can be worked out by hand."""

import pytest

from dynamicrag_cli.core.selectors import parse_selector
from dynamicrag_cli.stages.contenders import family_of
from dynamicrag_cli.stages.evaluate import Scored, collect, score
from dynamicrag_cli.stages.study import study
from tests.builders import GOLD, prediction, question, rollout

# The fewest passages that each question needs; "n" cannot be answered.
NEEDS = {"a0": 0, "b1": 1, "c1": 1, "d3": 3, "n": 9}
QUESTIONS = {
    name: question(id=name, dataset="nq" if name in "a0b1" else "qa", gold_passage_ids=["a"] if needs in (1, 3) else [])
    for name, needs in NEEDS.items()
}


def reads(selector, takes, *, name=None, right=None, **fields):
    """A system that takes `takes(question)` passages and answers right where that is enough."""
    made = []
    for key, needs in NEEDS.items():
        k = takes(key)
        answer = GOLD if (right(key) if right else k >= needs) else "Ulm"
        chosen = "abcd"[:k][:: -1 if selector.endswith("reversed") else 1]
        made.append(prediction(rollout(chosen, answer, n_reader_tokens=10 + 100 * k, **fields), id=key, selector=selector))
    system = collect(made, QUESTIONS, name or selector)
    return Scored([system], score(system, QUESTIONS), {})


def sweep():
    return [reads("none", lambda _: 0), reads("top-k:1", lambda _: 1), reads("top-k:3", lambda _: 3)]


def perfect():
    return reads("llm", lambda key: NEEDS[key] if NEEDS[key] < 9 else 0)


def by_name(made):
    return {entry["system"]: entry for entry in made["systems"]}


@pytest.mark.parametrize(
    ("selector", "family"),
    [
        ("none", "fixed"), ("all", "fixed"), ("top-k:2", "fixed"), ("cross-encoder:3", "fixed"), ("rrpo:3", "fixed"),
        ("llm", "dynamic"), ("threshold:0.5", "dynamic"), ("largest-gap", "dynamic"), ("cross-encoder:threshold=0.5", "dynamic"),
        ("rrpo:0:5", "dynamic"), ("gold", "ceiling"), ("top-k:2,reversed", "order"),
    ],
)  # fmt: skip
def test_families(selector, family):
    assert family_of(parse_selector(selector)) == family


def test_systems():
    made = study([*sweep(), perfect()], QUESTIONS, seconds={"llm": 0.5})
    found = by_name(made)
    assert {name: entry["answer"]["mean"] for name, entry in found.items()} == pytest.approx(
        {"none": 0.2, "top-k:1": 0.6, "top-k:3": 0.8, "llm": 0.8}
    )
    assert found["llm"]["passages"]["mean"] == 1.0
    assert found["llm"]["reader_tokens"]["mean"] == 110.0
    assert (found["llm"]["calls"], found["top-k:1"]["calls"], found["llm"]["seconds"]) == (2.0, 1.0, 0.5)
    assert {name for name, entry in found.items() if entry["on_front_by_passages"]} == {"none", "llm"}


def test_none_has_a_share_and_two_ways_of_being_right():
    found = by_name(study([*sweep(), perfect()], QUESTIONS))
    # llm says None to a0 (answered, nothing to choose) and n (not answered, nothing to choose).
    llm = found["llm"]
    assert (llm["none_share"], llm["none_answered"], llm["none_justified"]) == (0.4, 0.5, 1.0)
    # For three of five questions a gold passage was offered.
    assert found["none"]["none_justified"] == pytest.approx(0.4)
    assert found["top-k:1"]["none_answered"] is None


def test_oracle_takes_the_least_that_answers_best():
    oracle = study([*sweep(), perfect()], QUESTIONS)["oracle_k"]
    assert oracle["over"] == ["none", "top-k:1", "top-k:3"]
    assert (oracle["answer"]["mean"], oracle["passages"]["mean"], oracle["best_fixed"]) == (0.8, 1.0, "top-k:3")
    assert oracle["gain"]["mean"] == 0.0


def test_oracle_gains_where_more_is_worse():
    worse = reads("top-k:3", lambda _: 3, right=lambda key: key == "d3")
    oracle = study([reads("top-k:1", lambda _: 1), worse], QUESTIONS)["oracle_k"]
    assert oracle["answer"]["mean"] == pytest.approx(0.8)
    assert oracle["gain"]["mean"] == pytest.approx(0.2)


def test_one_fixed_k_is_no_sweep():
    made = study([sweep()[1], perfect()], QUESTIONS)
    assert (made["oracle_k"], made["difficulty"], made["k_by_difficulty"]["llm"]) == (None, {}, {})


def test_how_k_is_spread():
    made = study([*sweep(), perfect()], QUESTIONS)
    assert made["difficulty"] == {"0": 1, "1": 2, "3": 1, "never": 1}
    assert made["k_by_dataset"]["llm"] == {"nq": {"0": 0.5, "1": 0.5}, "qa": pytest.approx({"0": 1 / 3, "1": 1 / 3, "3": 1 / 3})}
    assert made["k_by_difficulty"]["llm"] == {"0": {"0": 1.0}, "1": {"1": 1.0}, "3": {"3": 1.0}, "never": {"0": 1.0}}


def test_passages_that_did_not_fit_were_not_read():
    cut = reads("top-k:3", lambda _: 3, n_unread=1)
    assert by_name(study([cut], QUESTIONS))["top-k:3"]["passages"]["mean"] == 2.0


def test_another_order_is_compared_where_the_passages_are_the_same():
    turned = reads("top-k:3,reversed", lambda _: 3, right=lambda key: key == "a0")
    made = study([*sweep(), turned], QUESTIONS)
    (found,) = made["order"]
    assert (found["system"], found["compared_with"], found["questions"]) == ("top-k:3,reversed", "top-k:3", 5)
    assert found["changed_share"] == pytest.approx(0.6)
    assert found["difference"]["mean"] == pytest.approx(-0.6)
    # What is read in another order is no contender of its own.
    assert study([*sweep(), perfect(), turned], QUESTIONS)["conclusion"]["compared"][0]["system"] == "llm"


def test_other_sets_and_single_passages_say_nothing_about_order():
    assert study([reads("top-k:1", lambda _: 1), reads("top-k:1,reversed", lambda _: 1)], QUESTIONS)["order"] == []


def test_a_file_of_several_selectors_is_refused():
    mixed = [prediction(rollout("a"), id="a0", selector="llm"), prediction(rollout("a"), id="b1", selector="none")]
    system = collect(mixed, QUESTIONS, "mixed")
    with pytest.raises(ValueError, match="mixed holds predictions of several selectors"):
        study([Scored([system], score(system, QUESTIONS), {})], QUESTIONS)


def test_questions_without_a_gold_answer_are_left_out():
    asked = {**QUESTIONS, "a0": question(id="a0", answers=[])}
    system = collect([prediction(rollout("a"), id=key) for key in asked], asked, "s")
    made = study([Scored([system], score(system, asked), {})], asked)
    assert (made["questions"], made["left_out"]) == (4, 1)
