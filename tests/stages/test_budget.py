"""Prompts that fit: passages go from the end, then the last one is cut."""

import pytest

from dynamicrag_cli.core.prompts import Chat
from dynamicrag_cli.core.records import Candidate
from dynamicrag_cli.stages.budget import fit
from tests.builders import ScriptedEngine


def passage(name: str, n_words: int) -> Candidate:
    return Candidate(id=name, title="T", text=" ".join(f"{name}{number}" for number in range(n_words)), score=0.0)


def render(_index, docs):
    return Chat("system", "question " + " ".join(doc.text for doc in docs))


def engine(context: int) -> ScriptedEngine:
    return ScriptedEngine(lambda _request, _sample: "", context)


LONG = [passage(name, 50) for name in "abcde"]


def test_what_fits_stays_as_it_is():
    (made,) = fit([LONG], render, engine(1 + 250 + 10), 10)
    assert (made.docs, made.n_dropped, made.cut) == (LONG, 0, False)


@pytest.mark.parametrize(("context", "kept"), [(260, 4), (211, 4), (210, 3), (61, 1)])
def test_passages_are_dropped_from_the_end_and_no_more_than_needed(context, kept):
    (made,) = fit([LONG], render, engine(context), 10)
    assert [doc.id for doc in made.docs] == list("abcde")[:kept]
    assert (made.n_dropped, made.cut) == (5 - kept, False)
    assert made.chat == render(0, made.docs)


def test_the_last_passage_is_cut_at_its_end():
    (made,) = fit([LONG], render, engine(40), 10)
    assert (made.n_dropped, made.cut) == (4, True)
    words = made.docs[0].text.split()
    assert words == LONG[0].text.split()[: len(words)]
    assert 20 <= len(words) <= 29
    assert len(LONG[0].text.split()) == 50


def test_a_prompt_that_cannot_fit_is_left_to_the_engine():
    made = fit([LONG, []], render, engine(5), 10)
    assert [len(fitted.docs) for fitted in made] == [1, 0]
    assert len(made[0].docs[0].text.split()) == 8


def test_each_list_is_fitted_on_its_own():
    asked: list[int] = []

    def counting(index, docs):
        asked.append(index)
        return render(index, docs)

    made = fit([LONG[:1], LONG, LONG[:2]], counting, engine(120), 10)
    assert [len(fitted.docs) for fitted in made] == [1, 2, 2]
    assert asked.count(0) == asked.count(2) == 1
