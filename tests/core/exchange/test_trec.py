"""TREC lines."""

import pytest

from dynamicrag_cli.core.exchange import trec
from dynamicrag_cli.core.records import Candidate, Passage
from tests import builders as b


def scored(*scores: float | None):
    return b.retrieved(docs=[Candidate(id=f"d{n}", title="", text="x", score=score) for n, score in enumerate(scores)])


@pytest.mark.parametrize(
    ("scores", "written"),
    [
        ((3.5, 2.0), ["3.5", "2"]),
        # TREC sorts by score: what does not fall would be shuffled.
        ((2.0, 3.5), ["2", "1"]),
        ((2.0, 2.0), ["2", "1"]),
        ((2.0, None), ["2", "1"]),
        ((1.0, 1.0 - 1e-15), ["2", "1"]),
    ],
)
def test_the_order_of_the_candidates_survives_sorting_by_score(scores: tuple, written: list[str]) -> None:
    lines = [*trec.run_lines(scored(*scores))]
    assert lines == [f"q-1 Q0 d{n} {n + 1} {score} drag" for n, score in enumerate(written)]


def test_of_a_prediction_only_what_was_chosen() -> None:
    assert [*trec.run_lines(b.prediction(b.rollout("ca"), selector="top k"))] == ["q-1 Q0 c 1 2 top_k", "q-1 Q0 a 2 1 top_k"]
    assert [*trec.run_lines(b.prediction(b.rollout("")))] == []


def test_qrels() -> None:
    assert [*trec.qrels_lines(b.question(gold_passage_ids=["a", "b", "a"]))] == ["q-1 0 a 1", "q-1 0 b 1"]
    assert [*trec.qrels_lines(b.question(gold_passage_ids=[]))] == []
    with pytest.raises(ValueError, match="has no gold_passage_ids"):
        [*trec.qrels_lines(b.question())]


@pytest.mark.parametrize("name", ["a b", "a\tb", " "])
def test_an_id_with_white_space_would_be_another_line(name: str) -> None:
    with pytest.raises(ValueError, match="white space"):
        [*trec.qrels_lines(b.question(gold_passage_ids=[name]))]


def test_lines_are_read_and_wrong_ones_refused() -> None:
    assert trec.parse_run_line("q1 Q0 d1 1 2.5 tag\n") == ("q1", "d1", 2.5)
    assert trec.parse_qrels_line("q1\t0\td1\t2") == ("q1", "d1", 2.0)
    for parse, line in (
        (trec.parse_run_line, "q1 Q0 d1 1 2.5"),
        (trec.parse_run_line, "q1 Q0 d1 1 nan tag"),
        (trec.parse_qrels_line, "q1 0 d1 x"),
        (trec.parse_qrels_line, "q1 0 d1 1 1"),
    ):
        with pytest.raises(ValueError, match=r"expected|number|could not"):
            parse(line)


def test_a_run_needs_its_passages() -> None:
    known = {"d1": Passage(id="d1", title="t", text="x"), "d2": Passage(id="d2", title="t", text="y")}
    made = trec.read_run(b.question(), {"d1": 1.0, "d2": 2.0}, known)
    assert [(doc.id, doc.text, doc.score) for doc in made.docs] == [("d2", "y", 2.0), ("d1", "x", 1.0)]
    with pytest.raises(ValueError, match="1 of 2 passages are not in --passages, such as 'd3'"):
        trec.read_run(b.question(), {"d1": 1.0, "d3": 2.0}, known)


def test_grades_are_kept_and_those_above_0_are_gold() -> None:
    made = trec.read_qrels(b.question(), {"a": 1.0, "b": 0.0, "c": 2.0})
    assert (made.gold_passage_ids, made.meta["grades"]) == (["a", "c"], {"a": 1, "b": 0, "c": 2})
    assert trec.read_qrels(b.question(), {"a": 1.0, "c": 2.0}, least=2).gold_passage_ids == ["c"]
    assert [*trec.qrels_lines(made)] == ["q-1 0 a 1", "q-1 0 b 0", "q-1 0 c 2"]
    with pytest.raises(ValueError, match=r"0\.5 is no whole number"):
        trec.read_qrels(b.question(), {"a": 0.5})
