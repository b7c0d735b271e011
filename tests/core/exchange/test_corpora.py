"""Items of other projects' corpora as passages."""

import pytest

from dynamicrag_cli.core.exchange.corpora import beir, columns, contexts, flashrag, from_row, guess


def test_beir_has_its_metadata_and_a_title_may_be_all() -> None:
    assert beir({"_id": "1", "title": "T", "text": "x", "metadata": {"url": "u"}}) == [
        {"_id": "1", "title": "T", "text": "x", "meta": {"url": "u"}}
    ]
    assert beir({"_id": "1", "title": "T", "text": ""}) == [{"_id": "1", "title": "", "text": "T"}]
    assert beir({"_id": "1", "title": "", "text": ""}) == [{"_id": "1", "title": "", "text": ""}]


def test_flashrag_has_its_title_in_the_first_line() -> None:
    assert flashrag({"id": 7, "contents": '"Ulm"\nA town.\nOn the Danube.', "lang": "en"}) == [
        {"id": "7", "title": "Ulm", "text": "A town.\nOn the Danube.", "lang": "en"}
    ]
    assert flashrag({"id": "8", "contents": "No title."}) == [{"id": "8", "title": "", "text": "No title."}]


def test_all_lists_of_a_question_of_dpr_are_read() -> None:
    item = {
        "question": "Where?",
        "positive_ctxs": [{"passage_id": "1", "title": "A", "text": "a", "score": 3}],
        "negative_ctxs": [],
        "hard_negative_ctxs": [{"psg_id": 2, "title": "B", "text": "b"}],
        "ctxs": [{"id": "wiki:3", "title": "C", "text": "c", "has_answer": True}],
    }
    assert contexts(item) == [
        {"id": "1", "title": "A", "text": "a"},
        {"id": "2", "title": "B", "text": "b"},
        {"id": "wiki:3", "title": "C", "text": "c"},
    ]


@pytest.mark.parametrize("item", [{"question": "Where?"}, {"ctxs": [{"id": "1"}]}, {"ctxs": ["text"]}])
def test_what_is_no_question_with_passages(item: dict) -> None:
    with pytest.raises(ValueError, match="passage"):
        contexts(item)


def test_tables_have_columns_of_dpr_or_their_own() -> None:
    assert columns(["1", "text", "title"]) is None
    assert columns(["ID", "title", " text", "url"]) == ["id", "title", "text", "url"]
    assert from_row(["1", "x", "T"]) == {"id": "1", "text": "x", "title": "T"}
    assert from_row(["1", "x"]) == {"id": "1", "text": "x"}
    assert from_row(["1", "T", "x"], ["id", "title", "text"]) == {"id": "1", "title": "T", "text": "x"}
    for row, names in ((["1"], None), (["1", "x", "T", "y"], None), (["1", "x"], ["id", "title", "text"])):
        with pytest.raises(ValueError, match="columns, expected 3"):
            from_row(row, names) if names else from_row(row)


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"id": "1", "title": "T", "text": "x"}, "drag"),
        ({"docid": "1", "passage": "x"}, "drag"),
        ({"_id": "1", "title": "T", "text": "x", "metadata": {}}, "beir"),
        ({"id": "1", "contents": "T\nx"}, "flashrag"),
        ({"id": "1", "contents": "T\nx", "title": "T"}, "drag"),
        ({"question": "Q", "answers": [], "positive_ctxs": []}, "dpr"),
        ({"id": "1", "question": "Q", "ctxs": []}, "dpr"),
        ({"id": "1", "question": "Q"}, None),
        ({"contents": "x"}, None),
        ({}, None),
    ],
)
def test_the_first_item_tells_the_format(item: dict, name: str | None) -> None:
    assert guess(item) == name
