"""The study in a report, read back: what it says, and what is no study."""

import pytest

from dynamicrag_cli.core.runs import Score
from dynamicrag_cli.core.study_results import Contender, study_results
from tests.runs import contender, study


def test_a_report_without_a_study_has_none() -> None:
    assert study_results({"systems": []}) is None


def test_contenders_oracle_and_sentence() -> None:
    found = study_results({"study": study(contender("top-1"), contender("sft", "dynamic", 0.625, 2.0, reader_tokens=None))})
    assert found is not None
    assert found.sentence == "Nothing can be concluded."
    assert found.oracle == (Score(0.75, 0.7, 0.8), 1.25)
    assert found.contenders == [
        Contender("top-1", "fixed k", Score(0.5, 0.4, 0.6), 1.0, 60.0, True, 0.25, 1.5, None),
        Contender("sft", "dynamic k", Score(0.625, 0.525, 0.725), 2.0, None, True, 0.25, 1.5, None),
    ]


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
        study({}),
    ],
)
def test_what_is_no_study(broken: object) -> None:
    with pytest.raises(ValueError, match="its study lacks"):
        study_results({"study": broken})
