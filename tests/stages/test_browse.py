"""The questions of a run as one document: who chose what, what was wrong with it, and how it stays small."""

from collections import Counter

import msgspec
import pytest

from dynamicrag_cli.adapters.files.page import script_json
from dynamicrag_cli.core.records import Prediction, RewardedQuestion
from dynamicrag_cli.stages.browse import OUTCOMES, ROLLOUTS, TEXT_STEPS, Browser, outcomes
from tests import builders as b
from tests.runs import rewarded
from tests.samples import prediction


def loaded(number: int, **changes) -> Prediction:
    return msgspec.convert(prediction(number, **changes), Prediction)


def test_a_question_of_two_systems_stands_once_and_so_do_its_passages() -> None:
    browser = Browser()
    browser.add(loaded(1), "sft")
    browser.add(loaded(1, selection=["p-Vienna", "p-Passau"], answer="Paris"), "dpo")
    made = browser.document()
    assert made["systems"] == ["sft", "dpo"]
    (question,) = made["questions"]
    assert [made["passages"][number][0] for number in question["p"]] == ["p-Vienna", "p-Passau", "p-Budapest"]
    assert (question["k"], question["m"]) == ([1], 0)
    first, second = question["r"]
    assert (first["s"], first["c"], first["a"], first["f"]) == (0, [1], "Passau", ["all right"])
    # The order is the chosen one, not that of the candidates.
    assert (second["s"], second["c"], second["f"]) == (1, [0, 1], ["wrong answer", "needless passages"])
    assert second["v"]["selection_precision"] == 0.5


def test_candidates_that_only_one_system_was_offered_are_added() -> None:
    browser = Browser()
    browser.add(b.prediction(b.rollout("b"), names="ab"), "one")
    browser.add(b.prediction(b.rollout("cb"), names="cb"), "two")
    (question,) = browser.document()["questions"]
    assert [attempt["c"] for attempt in question["r"]] == [[1], [2, 1]]


@pytest.mark.parametrize(
    ("made", "gold", "headline", "expected"),
    [
        (b.rollout("a"), ["a"], 1.0, ["all right"]),
        (b.rollout("a"), None, None, ["all right"]),
        (b.rollout("ab"), ["a"], 1.0, ["needless passages"]),
        (b.rollout("a"), ["a", "b"], 0.4, ["wrong answer", "gold not chosen"]),
        (b.rollout("a"), ["z"], 1.0, ["gold not retrieved", "needless passages"]),
        (b.rollout("", status="empty", answer=None), ["a"], 0.0, ["malformed", "no answer", "gold not chosen"]),
        (b.rollout(""), [], 1.0, ["all right"]),
    ],
)
def test_outcomes(made, gold, headline: float | None, expected: list[str]) -> None:
    assert [*outcomes(b.retrieved(gold_passage_ids=gold), made, headline)] == expected
    assert {*expected} <= {*OUTCOMES}


def test_rollouts_bring_their_reward_terms_and_failed_terms_are_counted_not_zero() -> None:
    browser = Browser()
    browser.add_rewarded(msgspec.convert(rewarded(1), RewardedQuestion))
    made = browser.document()
    assert made["systems"] == [ROLLOUTS]
    assert made["questions"][0]["r"][1]["v"] == {"em": 1.0, "rouge": None, "total": None}
    assert browser.terms == {"em": [1.0, 1.0, 0.0, 0.0], "rouge": [0.5, 0.5, 0.5], "total": [1.0, 0.0, 0.0]}
    assert browser.failed_terms == {"rouge": 1, "total": 1}
    assert browser.chosen_sizes == {ROLLOUTS: Counter({1: 2, 3: 1, 0: 1})}


def big(n: int, size: int) -> Browser:
    browser = Browser()
    for number in range(n):
        docs = [b.doc(f"p{number}-{place}", "x" * size) for place in range(20)]
        made = b.prediction(b.rollout("", answer="a", status="ok"), id=f"q-{number}", docs=docs)
        browser.add(msgspec.structs.replace(made, rollout=b.rollout([docs[3].id])), "sft")
    return browser


@pytest.mark.parametrize("budget", [5_000, 30_000, 60_000, 100_000, 200_000, 10**7])
def test_the_document_keeps_to_its_size_and_says_what_it_left_out(budget: int) -> None:
    made = big(30, 1000).document(budget)
    assert len(script_json(made)) <= budget * 1.02 + 1000
    limits = made["limits"]
    longest = max(len(text.removesuffix(" …")) for _, _, text in made["passages"])
    assert longest == limits["text"]
    assert limits["text"] in TEXT_STEPS
    assert len(made["questions"]) + limits["left_out"] == 30
    assert made["questions"]
    assert (limits["left_out"] > 0) == (budget < 30_000)
    # What is kept is whole: every candidate of a question is there.
    assert {len(question["p"]) for question in made["questions"]} == {20}
    assert [made["passages"][number][0] for number in made["questions"][-1]["p"]][3].endswith("-3")
    assert len(made["passages"]) == 20 * len(made["questions"])


def test_the_passages_that_were_chosen_keep_their_text_longest() -> None:
    made = big(30, 1000).document(60_000)
    assert made["limits"]["only_chosen"]
    assert {name.partition("-")[2] for name, _, text in made["passages"] if text} == {"3"}


def test_nothing_is_cut_where_there_is_room() -> None:
    assert big(2, 100).document()["limits"] == {"text": None, "only_chosen": False, "left_out": 0}
