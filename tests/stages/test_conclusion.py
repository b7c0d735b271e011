"""The conclusion says what the intervals allow, and no more."""

from dataclasses import replace

import pytest

from dynamicrag_cli.core.selectors import parse_selector
from dynamicrag_cli.stages.conclusion import conclude
from dynamicrag_cli.stages.contenders import Row, family_of
from tests.builders import rollout

KEYS = [str(number) for number in range(400)]


def row(selector, right, k, name=None):
    """A system that answers the first `right` of every 100 questions and reads `k` passages each."""
    parsed = parse_selector(selector)
    answers = {key: float(int(key) % 100 < right) for key in KEYS}
    return Row(name or selector, parsed, family_of(parsed), answers, {key: rollout("abcd"[:k]) for key in KEYS}, {})


@pytest.mark.parametrize(
    ("right", "k", "verdict", "words"),
    [
        (70, 2, "better", "is worth it on these 400 questions: llm answers better than the best fixed k, top-k:3: +20.0 points"),
        (70, 4, "better", "reading 4.00 passages instead of 3.00"),
        (
            50,
            2,
            "cheaper",
            "saves reading on these 400 questions: llm, against the best fixed k, top-k:3, reads 2.00 passages instead of 3.00",
        ),
        (50, 3, "open", "Nothing can be concluded"),
        # Four wins and no loss: a sign test has p = 0.125.
        (51, 3, "open", "+1.0 points [+0.0, +2.0], p 0.12,"),
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


def test_a_selector_that_always_reads_as_many_is_told():
    always = row("llm", 50, 3)
    varied = replace(always, rollouts={key: rollout("abc"[: int(key) % 3]) for key in KEYS})
    assert "not in how many" in conclude([row("top-k:3", 50, 3), always], KEYS)["sentence"]
    assert "not in how many" not in conclude([row("top-k:3", 50, 3), varied], KEYS)["sentence"]


def test_those_that_are_worse_are_named():
    made = conclude([row("top-k:3", 50, 3), row("llm", 50, 3), row("llm", 10, 1, "a"), row("llm", 12, 1, "b")], KEYS)
    assert made["sentence"].endswith("could go unseen; a, b answer worse.")


def test_equal_answers_on_few_questions_do_not_show_that_nothing_is_lost():
    made = conclude([row("top-k:3", 50, 3), row("llm", 50, 1)], KEYS[:48])
    assert made["verdict"] == "open"
    assert "+0.0 points [-7.4, +7.4], p 1," in made["sentence"]
    assert "below about 16.0 points could go unseen" in made["sentence"]
