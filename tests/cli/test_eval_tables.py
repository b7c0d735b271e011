"""The tables of `drag eval`."""

import pytest

from dynamicrag_cli.cli.eval_tables import caption, comparison_caption, comparison_table, percent, score_table, with_interval
from dynamicrag_cli.stages.evaluate import evaluate
from tests.builders import prediction, question, rollout

HALF = {"mean": 0.125, "low": -0.1, "high": 0.35, "p_value": 0.2, "detectable": 0.3, "n": 8, "better": 3, "worse": 2}


def report(**fields) -> dict:
    return evaluate([prediction(rollout("a"))], {"q-1": question()}, "sft")[0] | fields


def titles(table) -> list[str]:
    return [str(column.header) for column in table.columns]


def cells(table, title) -> list[str]:
    return [*table.columns[titles(table).index(title)].cells]


def compared(**score) -> list[dict]:
    return [{"system": "dpo", "baseline": "top-3", "left_out": 0, "scores": {"headline": HALF | score}}]


def test_numbers() -> None:
    assert (percent(None), percent(0.3333), with_interval(None)) == ("-", "33.3", "-")
    assert with_interval(HALF, signed=True) == "+12.5 [-10.0, +35.0]"


def test_a_count_has_a_column_only_where_something_was_counted() -> None:
    assert "not in gold" not in titles(score_table([report()]))
    table = score_table([report(), report(not_in_gold=3, unreadable=1)])
    assert cells(table, "not in gold") == ["0", "3"]
    assert "unreadable" in titles(table)


def test_repeats_are_named() -> None:
    assert cells(score_table([report(repeats=3)]), "system") == ["sft (mean of 3)"]
    told = caption([report(repeats=3, repeat_sd={"headline": 0.02})], 1)
    assert any("standard deviation of 2.0" in line for line in told)


def test_caption_tells_what_was_left_out() -> None:
    told = " ".join(caption([report(no_gold_answer=2, other_dataset=1, missing=3)], 5))
    assert "sft: 3 gold questions have no prediction and count as failures" in told
    assert "sft: 2 questions have no gold answer" in told
    assert "sft: 1 predictions name another data set" in told


def test_comparison() -> None:
    table = comparison_table(compared(p_value=0.00001))
    assert (cells(table, "p"), cells(table, "better / worse"), cells(table, "detectable")) == (["<0.0001"], ["3 / 2"], ["30.0"])


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (
            {},
            "No difference between the answers of dpo and top-3 is shown: +12.5 [-10.0, +35.0] points, p 0.2; true differences below",
        ),
        ({"low": 0.01}, "No difference"),
        ({"low": 0.01, "p_value": 0.01}, "dpo answers better than top-3"),
        ({"low": -0.3, "high": -0.01, "p_value": 0.02}, "dpo answers worse than top-3"),
        (
            {"mean": 0, "better": 0, "worse": 0},
            "on every question; true differences below about 30.0 points could go unseen in 8",
        ),
    ],
)
def test_the_sentence_says_no_more_than_the_interval(score, words) -> None:
    assert words in comparison_caption(compared(**score))[0]
