"""Questions and passages under the names of other projects."""

import pytest

from dynamicrag_cli.core.exchange.parts import candidate, question_fields, unique


@pytest.mark.parametrize(
    ("item", "answers"),
    [
        ({"answers": ["a", "b"]}, ["a", "b"]),
        ({"answer": "a"}, ["a"]),
        ({"golden_answers": ["a"]}, ["a"]),
        ({"answers": [["a", "b"], ["c"]]}, ["a", "b", "c"]),
        ({"qa_pairs": [{"short_answers": ["a", "b"]}, {"short_answers": ["b", "c"]}]}, ["a", "b", "c"]),
        ({}, []),
    ],
)
def test_answers_under_any_name(item: dict, answers: list[str]) -> None:
    assert question_fields({"question": "Why?", **item}, "x-1", None)["answers"] == answers


def test_what_metrics_need_is_kept_and_the_data_set_is_not_guessed() -> None:
    item = {"retrieved_question": "Why?", "id": "asqa_3", "claims": ["c"], "annotations": [{"long_answer": "l"}], "qa_pairs": []}
    made = question_fields(item, "x-1", None)
    assert (made["id"], made["dataset"], made["meta"]) == ("asqa_3", "qa", {"claims": ["c"], "long_answers": ["l"]})
    assert question_fields(item, "x-1", "asqa")["dataset"] == "asqa"
    assert question_fields({"question": "Why?"}, "x-1", None)["id"] == "x-1"
    with pytest.raises(ValueError, match="no question"):
        question_fields({"id": 3}, "x-1", None)


def test_passages() -> None:
    assert candidate({"contents": '"Ulm"\nIt lies\nthere.'}).title == "Ulm"
    assert candidate({"contents": "one line"}).text == "one line"
    assert candidate({"id": 7, "text": "x", "score": "0.5"}).score == 0.5
    one, other = candidate({"text": "x", "title": "a"}), candidate({"text": "x", "title": "b"})
    assert one.id != other.id
    assert one == candidate({"text": "x", "title": "a"})
    for doc in ("x", {"title": "a"}, {"text": 3}):
        with pytest.raises(ValueError, match="passage"):
            candidate(doc)
    assert unique([one, other, one]) == [one, other]
