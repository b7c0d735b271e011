"""The tables of a run."""

from collections import Counter

from dynamicrag_cli.core.runs import Score, StageFacts, SystemResults, system_results
from dynamicrag_cli.core.study_results import study_results
from dynamicrag_cli.stages import summary
from tests.runs import contender, score, study, system


def rows(*systems: dict) -> list[SystemResults]:
    return system_results({"systems": list(systems)})


def test_every_metric_share_and_count_of_a_system_has_its_column() -> None:
    table = summary.results(rows(system("sft", 0.5, missing=2)))
    shown = dict(zip(table.head, table.rows[0], strict=True))
    assert shown == {
        "system": "sft", "answer": "50.0 [40, 60]", "selection F1": "70.0 [60, 80]", "passages": "1.00",
        "reader tokens": "60", "None": "0 %", "malformed": "11 %", "no answer": "0 %", "missing": "2",
    }  # fmt: skip
    assert table.note.startswith("9 questions.")
    others = summary.metrics(rows(system("sft", 0.5)))
    assert others is not None
    assert (others.head, others.rows) == (["system", "EM"], [["sft", "50.0 [0, 100]"]])
    assert summary.metrics(rows(system("bare", scores={}))) is None


def test_what_a_system_lacks_is_a_dash() -> None:
    bare = system("bare", scores={}, mean_passages=float("nan"), mean_reader_tokens=None, missing=None)
    table = summary.results(rows(system("sft"), bare))
    assert table.rows[1] == ["bare", "–", "–", "–", "–", "0 %", "11 %", "0 %", "–"]


def test_data_sets_have_a_table_where_there_are_several() -> None:
    scores = {"headline": {"mean": 0.25, "low": 0.0, "high": 0.5}}
    assert summary.by_dataset(rows(system("a"))) is None
    table = summary.by_dataset(rows(system("a", by_dataset={"nq": scores, "qa": {}}), system("b", by_dataset={"nq": scores})))
    assert table is not None
    assert (table.head, table.rows) == (["system", "nq", "qa"], [["a", "25.0 [0, 50]", "–"], ["b", "25.0 [0, 50]", "–"]])


def test_stages_and_why_records_went() -> None:
    facts = [
        StageFacts("sample", 10, {"": 8}, 2, {"bad": 1, "worse": 1}, {"ok": 8}, 1.5, 80.0),
        StageFacts("build-bc", 8, {"a": 1, "b": 2}),
    ]
    assert summary.stages(facts).rows == [["sample", "10", "8", "2", "1.5", "80"], ["build-bc", "8", "1 a, 2 b", "0", "–", "–"]]
    why = summary.reasons(facts)
    assert why is not None
    assert why.rows == [["sample", "rejected", "bad", "1"], ["sample", "rejected", "worse", "1"], ["sample", "noted", "ok", "8"]]
    assert not why.folded
    notes = summary.reasons([StageFacts("sample", 10, notes={"ok": 8})])
    assert notes is not None
    assert (notes.title, notes.folded) == ("Notes", True)
    assert summary.reasons([StageFacts("index", 3)]) is None


def test_scores_in_words() -> None:
    assert summary.said([("a", Score(0.5, 0.25, 0.75)), ("b", Score(1.0, 1.0, 1.0))]) == "a 50.0 [25, 75]; b 100.0 [100, 100]"


def test_shares_of_k() -> None:
    assert summary.size_shares({"a": Counter({0: 1, 2: 3})}) == (["0", "1", "2"], {"a": [0.25, 0.0, 0.75]})
    titles, shares = summary.size_shares({"a": Counter({1: 1, 40: 1}), "b": Counter({0: 2})})
    assert (titles[:2], titles[-1]) == (["0", "1-4"], "37-40")
    assert (shares["a"][1], shares["a"][-1], shares["b"][0]) == (0.5, 0.5, 1.0)
    assert summary.size_shares({}) == (["0"], {})


def test_a_study_and_its_orders() -> None:
    turned = {"system": "b", "compared_with": "a", "questions": 4, "changed_share": 0.5, "difference": score(-0.1, -0.3, 0.1)}
    made = study_results({"study": study(contender("a", none_share=0.0), contender("b", "order"), order=[turned])})
    assert made is not None
    assert summary.study(made).rows == [
        ["a", "fixed k", "50.0 [40, 60]", "1.00 *", "60", "0 %", "–", "1.5", "–"],
        ["b", "other order", "50.0 [40, 60]", "1.00 *", "60", "25 %", "50 % / –", "1.5", "–"],
        ["oracle k", "upper bound", "75.0 [70, 80]", "1.25", "–", "–", "–", "–", "–"],
    ]
    table = summary.orders(made)
    assert table is not None
    assert table.rows == [["b", "a", "4", "50 %", "-10.0 [-30.0, +10.0]"]]
