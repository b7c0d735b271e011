"""Our metrics against the implementations that others trust, on samples written for the corners."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from dynamicrag_cli.core.metrics import contains, exact_match, rouge_l, str_em, token_f1
from tests.builders import quick

SAMPLES = [
    ("Donaueschingen", ["Donaueschingen"]),
    ("the Black Forest", ["Black Forest", "Schwarzwald"]),
    ("In the Black Forest, Germany.", ["Black Forest", "the Forest of the Black Sea"]),
    ("very very very wet", ["very wet", "wet, very wet"]),
    ("U.S.A.", ["USA", "United States"]),
    ("mother-in-law", ["mother in law"]),
    ("1,000 km", ["1000 km", "1 000 km"]),
    ("Paris", ["Ulm"]),
    ("a an the Rhine", ["Rhine"]),
    ("Müller's mill", ["Mullers mill", "müllers mill"]),
    ("no", ["yes", "No."]),
]
LONG = [
    ("The Danube rises in the Black Forest and flows to the Black Sea.", ["The Danube flows from the Black Forest to the sea."]),
    ("Rivers carry sediments; sediments build deltas.", ["Deltas are built from sediment that a river carries.", "No idea."]),
    ("one two three four five", ["five four three two one", "one three five"]),
    ("It depends.", ["A long answer about something else entirely"]),
    ("running runs runner", ["run running runs"]),
]
plain = st.lists(st.sampled_from(["the", "a", "black", "sea", "forest", "runs", "river", "12"]), min_size=1, max_size=8).map(
    " ".join
)


@pytest.mark.parametrize(("said", "answers"), SAMPLES)
def test_em_and_f1_are_those_of_torchmetrics(said, answers):
    squad = pytest.importorskip("torchmetrics.functional.text").squad
    gold = {"answers": {"answer_start": [0] * len(answers), "text": answers}, "id": "1"}
    theirs = squad([{"prediction_text": said, "id": "1"}], [gold])
    assert 100 * exact_match(said, answers) == pytest.approx(float(theirs["exact_match"]), abs=1e-4)
    assert 100 * token_f1(said, answers) == pytest.approx(float(theirs["f1"]), abs=1e-4)


@pytest.mark.parametrize(("said", "references"), LONG)
def test_rouge_is_that_of_rouge_score(said, references):
    theirs = RougeScorer(["rougeL"], use_stemmer=True).score_multi(references, said)["rougeL"].fmeasure
    assert rouge_l(said, references) == pytest.approx(theirs, abs=1e-6)


@quick
@given(plain, plain)
def test_rouge_is_that_of_rouge_score_on_any_words(said, reference):
    theirs = RougeScorer(["rougeL"], use_stemmer=True).score(reference, said)["rougeL"].fmeasure
    assert rouge_l(said, [reference]) == pytest.approx(theirs, abs=1e-6)


@quick
@given(st.lists(st.sampled_from(["black", "sea", "forest", "rain"]), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_f1_does_not_see_order_or_case_and_the_others_see_no_case(words, random):
    gold = "black forest rain"
    moved = list(words)
    random.shuffle(moved)
    said = " ".join(words)
    assert token_f1(said, [gold]) == pytest.approx(token_f1(" ".join(moved).upper(), [gold]))
    for metric in (exact_match, contains, rouge_l):
        assert metric(said, [gold]) == metric(said.upper(), [gold])


@quick
@given(st.lists(plain, min_size=1, max_size=3), plain)
def test_str_em(shorts, other):
    pairs = [{"short_answers": [short]} for short in shorts]
    assert 0 <= str_em(other, pairs) <= 1
    assert str_em(other.upper(), pairs) == str_em(other, pairs)
    assert str_em(" ; ".join(shorts), pairs) == sum(contains(" ; ".join(shorts), [short]) for short in shorts) / len(shorts)
    assert str_em("", pairs) == 0
    assert str_em("zzz", pairs) == 0
