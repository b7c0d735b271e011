"""The study in a report, read back: what it says, and what is no study."""

import pytest

from dynamicrag_cli.core.runs import Score
from dynamicrag_cli.core.study_results import Contender, study_results
from tests.runs import contender, score, study

PASSAGES = frozenset({"passages"})


def test_a_report_without_a_study_has_none() -> None:
    assert study_results({"systems": []}) is None


def test_contenders_oracle_and_sentence() -> None:
    found = study_results({"study": study(contender("top-1"), contender("sft", "dynamic", 0.625, 2.0, reader_tokens=None))})
    assert found is not None
    assert found.sentences == [
        "A perfect choice among top-1 would answer 75.0, +25.0 [+12.5, +37.5] points above top-1, with 1.25 passages: no choice"
        " of k in retrieval order can win more.",
        "Nothing can be concluded.",
    ]
    assert found.oracle == (Score(0.75, 0.7, 0.8), 1.25)
    assert found.contenders == [
        Contender("top-1", "fixed k", Score(0.5, 0.4, 0.6), 1.0, 60.0, PASSAGES, 0.25, (0.5, None), 1.5, None),
        Contender("sft", "dynamic k", Score(0.625, 0.525, 0.725), 2.0, None, PASSAGES, 0.25, (0.5, None), 1.5, None),
    ]
    assert found.families == {"top-1": "fixed k", "sft": "dynamic k"}


def test_mean_k_by_passages_needed_and_by_data_set() -> None:
    found = study_results({"study": study(contender("a"))})
    assert found is not None
    assert found.groups == ["needs 2\n4 q.", "needs 10\n3 q.", "no k right\n2 q."]
    assert found.mean_k == {"a": [1.5, None, 1.0]}
    two = study_results({"study": study(contender("a"), k_by_dataset={"a": {"qa": {"1": 1.0}, "nq": {"2": 0.5, "4": 0.5}}})})
    assert two is not None
    assert (two.groups[3:], two.mean_k["a"][3:]) == (["nq", "qa"], [3.0, 1.0])


def test_orders() -> None:
    turned = {
        "system": "a,reversed",
        "compared_with": "a",
        "questions": 4,
        "changed_share": 0.5,
        "difference": score(-0.1, -0.3, 0.1),
    }
    found = study_results({"study": study(contender("a"), order=[turned])})
    assert found is not None
    assert found.orders == [("a,reversed", "a", 4, 0.5, Score(-0.1, -0.3, 0.1))]


def test_different_readers_are_told() -> None:
    found = study_results({"study": study(contender("a"), readers={"x": ["a"], "y": ["b", "c"]})})
    assert found is not None
    assert "2 different readers (a; b, c)" in found.sentences[0]


def test_a_study_without_a_sweep_has_no_oracle() -> None:
    found = study_results({"study": study(contender("sft", "dynamic"), oracle_k=None)})
    assert found is not None
    assert found.oracle is None


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {},
        study(contender("a", "no family")),
        study({**contender("a"), "answer": {"mean": 0.5}}),
        study({**contender("a"), "passages": {"mean": float("nan")}}),
        study(conclusion=None),
        study(order=[{}]),
        study(contender("a"), k_by_difficulty={}),
        study(contender("a"), k_by_dataset={"a": {"qa": {"many": 1.0}, "nq": {}}}),
        study({}),
    ],
)
def test_what_is_no_study(broken: object) -> None:
    with pytest.raises(ValueError, match="its study lacks"):
        study_results({"study": broken})
