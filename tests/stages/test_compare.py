import pytest

from dynamicrag_cli.core.records import QuestionScores
from dynamicrag_cli.stages.compare import compare, comparison, shared_questions
from dynamicrag_cli.stages.evaluate import Scored, System
from tests.builders import rollout


def system(name, ids):
    return System(name, {key: rollout("a") for key in ids})


def rows(name, **values):
    return [QuestionScores(id=key, system=name, dataset="qa", scores={"em": value}) for key, value in values.items()]


def test_shared_questions_keep_the_order_of_the_first_file():
    assert shared_questions([system("a", "zxy"), system("b", "xyz")], common=False) == ["z", "x", "y"]


def test_different_questions_are_refused_and_named():
    files = [system("a", "xy"), system("b", "xyz")]
    with pytest.raises(
        ValueError, match=r"a has no prediction for 1 that another has \('z', …\). Type --common .* the 2 questions"
    ):
        shared_questions(files, common=False)
    assert shared_questions(files, common=True) == ["x", "y"]


def test_nothing_in_common():
    with pytest.raises(ValueError, match="nothing to compare"):
        shared_questions([system("a", "x"), system("b", "y")], common=True)


def test_differences_are_question_by_question():
    found = compare(rows("a", x=1.0, y=1.0, z=0.0), rows("b", z=1.0, y=0.0, x=1.0), ["x", "y"])
    assert (found["em"]["mean"], found["em"]["n"]) == (0.5, 2)


def test_a_score_that_one_lacks_is_not_compared():
    theirs = [QuestionScores(id="x", system="b", dataset="qa", scores={"f1": 1.0})]
    assert compare(rows("a", x=1.0), theirs, ["x"]) == {}


def test_comparison_counts_what_it_left_out():
    ours = Scored([system("a", "xyz"), system("a", "xy")], rows("a", x=1.0, y=1.0, z=1.0), {})
    theirs = Scored([system("b", "xy")], rows("b", x=0.0, y=1.0, z=0.0), {})
    made = comparison(ours, theirs, common=True)
    assert (made["system"], made["baseline"], made["questions"], made["left_out"]) == ("a", "b", 2, 1)
    assert made["scores"]["em"]["mean"] == 0.5
