"""The conclusion says what the intervals allow, and no more."""

import pytest

from dynamicrag_cli.core.selectors import parse_selector
from dynamicrag_cli.stages.conclusion import conclude
from dynamicrag_cli.stages.contenders import Row, family_of
from tests.builders import rollout

KEYS = [str(number) for number in range(100)]


def row(selector, right, k, name=None):
    """A system that answers the first `right` of 100 questions and reads `k` passages each."""
    parsed = parse_selector(selector)
    answers = {key: float(int(key) < right) for key in KEYS}
    return Row(name or selector, parsed, family_of(parsed), answers, {key: rollout("abcd"[:k]) for key in KEYS}, {})


@pytest.mark.parametrize(
    ("right", "k", "verdict", "words"),
    [
        (70, 2, "better", "is worth it on these 100 questions: llm answers +20.0 points"),
        (70, 4, "better", "reading 4.00 passages instead of 3.00"),
        (50, 2, "cheaper", "saves reading on these 100 questions: llm reads 2.00 passages instead of 3.00"),
        (50, 3, "open", "Nothing can be concluded"),
        (51, 3, "open", "+1.0 points [+0.0, +3.0]"),
        (48, 2, "open", "Nothing can be concluded"),
        (30, 2, "worse", "is not worth it"),
    ],
)
def test_verdict(right, k, verdict, words):
    made = conclude([row("none", 20, 0), row("top-k:3", 50, 3), row("llm", right, k)], KEYS)
    assert made["verdict"] == verdict
    assert words in made["sentence"]
    assert made["compared"][0]["fixed"] == "top-k:3"


def test_many_contenders_widen_the_interval():
    one = conclude([row("top-k:3", 50, 3), row("llm", 60, 3)], KEYS)
    many = conclude([row("top-k:3", 50, 3), row("llm", 60, 3), *(row("llm", 10, 3, name) for name in "abcd")], KEYS)
    narrow, wide = (made["compared"][0]["answer"] for made in (one, many))
    assert (one["level"], many["level"]) == (0.95, pytest.approx(0.99))
    assert wide["low"] < narrow["low"]
    assert "widened for 5 dynamic selectors" in many["sentence"]


def test_the_best_verdict_is_told():
    made = conclude([row("top-k:3", 50, 3), row("llm", 10, 1, "bad"), row("llm", 80, 3, "good")], KEYS)
    assert (made["verdict"], "good answers" in made["sentence"]) == ("better", True)


def test_nothing_to_compare():
    assert "none of a fixed k" in conclude([row("llm", 10, 1)], KEYS)["sentence"]
    assert "none of a selector that chooses" in conclude([row("all", 10, 1), row("gold", 90, 1)], KEYS)["sentence"]


def test_equal_answers_do_not_claim_a_detectable_size():
    assert "could go unseen" not in conclude([row("top-k:3", 50, 3), row("llm", 50, 3)], KEYS)["sentence"]
