"""What a person sees of one question: the choice at once, the answer while it is written."""

import pytest

from dynamicrag_cli.cli.asking import _Person
from tests.builders import retrieved, rollout
from tests.samples import SELECT, script


@pytest.fixture
def person() -> _Person:
    made = _Person(hears=True)
    made.close()
    return made


def test_the_answer_grows_on_the_terminal_and_ends_whole(person: _Person, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for so_far in (" ", " Don", " Donau ", " Donau esch\N{REPLACEMENT CHARACTER}", " Donau eschü"):
        person.text(so_far)
        shown.append(capsys.readouterr().out)
    assert shown == ["", "Don", "au", " esch", "ü"]
    person.end("Donau eschü.")
    assert capsys.readouterr().out == ".\n"


def test_an_answer_that_was_heard_otherwise_is_told_again(person: _Person, capsys: pytest.CaptureFixture[str]) -> None:
    person.text("Ulm and")
    person.text("Linz")
    person.end("Linz")
    assert capsys.readouterr().out == "Ulm and\nLinz\n"


def test_a_terminal_does_not_obey_a_growing_answer(person: _Person, capsys: pytest.CaptureFixture[str]) -> None:
    for so_far in ("a\x1b", "a\x1b[31", "a\x1b[31mb\x07"):
        person.text(so_far)
    person.end("a\x1b[31mb\x07")
    assert capsys.readouterr().out == "a[31mb\n"


def test_what_is_no_terminal_gets_the_answer_once(capsys: pytest.CaptureFixture[str]) -> None:
    person = _Person(hears=False)
    person.close()
    person.text("Ulm")
    person.end("Ulm")
    assert capsys.readouterr().out == "Ulm\n"


def test_a_failed_choice_shows_no_passage(person: _Person, capsys: pytest.CaptureFixture[str]) -> None:
    person.chosen(retrieved(), rollout("", None, "failed", error="no memory"))
    assert capsys.readouterr() == ("", "")


def test_one_question_reads_a_large_pool_in_windows(drag, toy_bm25, tmp_path) -> None:
    fake = script(tmp_path / "fake.json", default="the lion", **{SELECT: ["[1]"]})
    ask = ("infer", "--question", "Which cat lives in prides?", "--index", toy_bm25, "--engine", "fake", "--model", fake)
    done = drag(*ask, "--top-k", 12, "--window", 3)
    assert (done.code, done.out) == (0, b"the lion\n"), done.err
    assert "retrieved as 1 of 12" in done.err
