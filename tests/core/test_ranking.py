import pytest

from dynamicrag_cli.core.ranking import MATCHES, Ranked, gold_titles, is_judged
from tests.builders import doc, question


def test_by_id():
    found = MATCHES["id"](question(gold_passage_ids=["b", "missed"]), [doc("a"), doc("b")])
    assert found == Ranked(("a", "b"), frozenset({"b", "missed"}))


def test_graded_judgements_are_gains_by_id_and_other_grades_are_none():
    graded = question(gold_passage_ids=["b"], meta={"grades": {"a": 1, "b": 3}})
    assert MATCHES["id"](graded, [doc("a")]) == Ranked(("a",), frozenset("b"), {"a": 1, "b": 3})
    for other in ("A", {"math": "A"}):
        assert MATCHES["id"](question(gold_passage_ids=["b"], meta={"grades": other}), [doc("a")]).gains is None


def test_by_title_counts_a_page_once_and_ignores_case():
    docs = [doc("1", title="The Danube"), doc("2", title="danube"), doc("3", title="Ulm")]
    assert MATCHES["title"](question(meta={"gold_titles": ["DANUBE"]}), docs) == Ranked(("danube", "ulm"), frozenset({"danube"}))


def test_by_answer_wants_every_candidate_that_holds_one():
    docs = [doc("1", "It rises at Donaueschingen."), doc("2", "Nothing."), doc("3", title="Donaueschingen")]
    assert MATCHES["answer"](question(), docs).wanted == {"1", "3"}


@pytest.mark.parametrize(
    ("meta", "titles"),
    [
        ({}, []),
        ({"gold_titles": ["A"], "supporting_facts": [["B", 0]]}, ["A"]),
        ({"supporting_facts": [["B", 0], ["C", 1]]}, ["B", "C"]),
        ({"supporting_facts": {"title": ["B", "C"], "sent_id": [0, 1]}}, ["B", "C"]),
    ],
)
def test_gold_titles(meta, titles):
    assert gold_titles(question(meta=meta)) == titles


@pytest.mark.parametrize(
    ("match", "fields", "judged"),
    [
        ("id", {"gold_passage_ids": ["a"]}, True),
        ("id", {"gold_passage_ids": []}, False),
        ("id", {}, False),
        ("title", {"meta": {"gold_titles": ["A"]}}, True),
        ("title", {}, False),
        ("answer", {}, True),
        ("answer", {"answers": ["yes"]}, False),
        ("answer", {"dataset": "fever", "answers": ["SUPPORTS"]}, False),
    ],
)
def test_judged(match, fields, judged):
    assert is_judged(question(**fields), match) is judged
