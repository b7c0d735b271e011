"""Predictions there and back."""

import json
from collections.abc import Callable

import msgspec
import pytest

from dynamicrag_cli.core.exchange import predictions as p
from dynamicrag_cli.core.records import Prediction
from tests import builders as b

PAIRS: dict[str, tuple[Callable, Callable]] = {
    "dynamicrag": (p.read_dynamicrag, p.write_dynamicrag),
    "flashrag": (p.read_flashrag, p.write_flashrag),
    "alce": (p.read_alce, p.write_alce),
}
META = {"qa_pairs": [{"question": "x", "short_answers": ["Donaueschingen"]}], "long_answers": ["It rises there."]}


def made(selection: str = "ca", **fields) -> Prediction:
    return b.prediction(b.rollout(selection, **fields), dataset="asqa", meta=META)


def through(name: str, record: Prediction) -> Prediction:
    read, write = PAIRS[name]
    item = json.loads(msgspec.json.encode(write(record)))
    return read(item, "x-1", None)


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_scored_survives_the_way_there_and_back(name: str) -> None:
    record, back = made(), through(name, made())
    for field in ("id", "question", "answers", "dataset", "meta"):
        assert getattr(back, field) == getattr(record, field), field
    assert (back.rollout.selection, back.rollout.answer, back.rollout.status) == (["c", "a"], b.GOLD, "ok")
    assert through(name, back) == back


def test_the_originals_form_keeps_all_candidates_and_the_others_what_was_read() -> None:
    assert [doc.id for doc in through("dynamicrag", made()).docs] == [*"abcd"]
    for name in ("flashrag", "alce"):
        assert [doc.id for doc in through(name, made()).docs] == ["c", "a"]
        assert through(name, made("cab", n_unread=1)).rollout.selection == ["c", "a"]


@pytest.mark.parametrize("name", PAIRS)
def test_none_chosen(name: str) -> None:
    back = through(name, made(""))
    assert (back.rollout.selection, back.rollout.status) == ([], "none")


@pytest.mark.parametrize("name", PAIRS)
def test_an_answer_that_is_missing_is_an_empty_one_there_and_none_where_the_file_has_none(name: str) -> None:
    assert through(name, made(answer=None)).rollout.answer == ""
    item = PAIRS[name][1](made())
    (item["output"] if name == "flashrag" else item).pop({"dynamicrag": "response", "flashrag": "pred", "alce": "output"}[name])
    back = PAIRS[name][0](item, "x-1", None)
    assert (back.rollout.answer, back.rollout.error) == (None, "the file holds no answer")


def original(chosen: object, **fields) -> Prediction:
    docs = [{"title": "A", "text": "a"}, {"title": "B", "text": "b"}, {"title": "A", "text": "a"}]
    return p.read_dynamicrag({"question": "Why?", "answers": ["x"], "ctxs": docs, "id_list": chosen, **fields}, "nq-1", "nq")


def test_the_originals_identifiers_are_those_of_its_list() -> None:
    made = original([[2, 1]], response=["yes", "no"])
    assert [next(doc.title for doc in made.docs if doc.id == name) for name in made.rollout.selection] == ["B", "A"]
    assert (made.id, made.dataset, made.rollout.answer, made.rollout.raw) == ("nq-1", "nq", "yes", "[2], [1]")
    # A passage that stands twice is one candidate, chosen by either number.
    assert len(made.docs) == 2
    assert original([3, 1]).rollout.selection == original([1]).rollout.selection


@pytest.mark.parametrize(("chosen", "status", "n"), [([[0]], "out_of_range", 0), ([[9, 1]], "out_of_range", 1), ([[1, 1]], "duplicate", 1), ([[]], "none", 0), ([], "none", 0)])  # fmt: skip
def test_identifiers_that_the_original_reads_wrongly_are_malformed_here(chosen: list, status: str, n: int) -> None:
    made = original(chosen)
    assert (made.rollout.status, len(made.rollout.selection)) == (status, n)


@pytest.mark.parametrize("chosen", [None, "x", [["1"]], 3])
def test_a_file_without_identifiers_is_refused(chosen: object) -> None:
    with pytest.raises(ValueError, match="id_list"):
        original(chosen)


def test_flashrags_data_set_is_in_its_metadata() -> None:
    item = {"id": 1, "question": "Why?", "golden_answers": ["x"], "metadata": {"dataset": "nq"}, "output": {"pred": "x"}}
    made = p.read_flashrag(item, "x-1", None)
    assert (made.id, made.dataset, made.docs) == ("1", "nq", [])
    with pytest.raises(ValueError, match="no output"):
        p.read_flashrag({**item, "output": "x"}, "x-1", None)
