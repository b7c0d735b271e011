"""Items, however the file holds them."""

import json
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files import items as reading
from dynamicrag_cli.adapters.files.items import items
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Reject

ROWS = [{"id": 1, "data": "x"}, {"id": 2}, {"id": 3}]
FORMS = {
    "lines": "\n".join(map(json.dumps, ROWS)),
    "one list in a line": json.dumps(ROWS),
    "a list with indents": json.dumps(ROWS, indent=4),
    "data": json.dumps({"args": {"x": 1}, "data": ROWS}),
    "data with indents": json.dumps({"args": {"x": 1}, "data": ROWS}, indent=2),
    "byte order mark": "\ufeff" + json.dumps(ROWS, indent=4),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_hold_the_same_items(tmp_path: Path, form: str) -> None:
    (tmp_path / "x.json").write_text(FORMS[form])
    assert [*items(str(tmp_path / "x.json"))] == [*enumerate(ROWS, start=1)]


def test_a_broken_item_is_a_reject_and_the_others_are_read(tmp_path: Path) -> None:
    for text in ('{"id": 1\n{"id": 2}\nx\n', '[{"id": 2}, 3]'):
        (tmp_path / "x.json").write_text(text)
        found = [item for _, item in items(str(tmp_path / "x.json"))]
        assert [item for item in found if not isinstance(item, Reject)] == [{"id": 2}]
        assert len(found) > 1


@pytest.mark.parametrize("block", [1, 2, 7])
def test_a_list_is_read_in_pieces_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(reading, "_BLOCK", block)
    rows = [{"id": "é]", "list": [1, {"x": ","}]}, {}, {"id": 1234567}]
    for name, indent in (("a", None), ("b", 3)):
        (tmp_path / name).write_text(json.dumps(rows, indent=indent, ensure_ascii=False))
        assert [*items(str(tmp_path / name))] == [*enumerate(rows, start=1)]
    (tmp_path / "empty").write_text("[ ]")
    assert [*items(str(tmp_path / "empty"))] == []


def test_a_list_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is broken at the end does not keep the first items back."""
    monkeypatch.setattr(reading, "_BLOCK", 64)
    (tmp_path / "x.json").write_text(json.dumps([{"id": n} for n in range(100)])[:-1] + "; no end")
    found = items(str(tmp_path / "x.json"))
    assert [next(found) for _ in range(100)] == [(n + 1, {"id": n}) for n in range(100)]
    with pytest.raises(InputError, match="item 101"):
        next(found)


@pytest.mark.parametrize("text", ["[1, 2", "[1 2]", "[1,]", "[nonsense]", "[,1]", '{\n"data": 3}', "{\n"])
def test_a_document_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match="neither JSON lines nor a JSON list"):
        [*items(str(tmp_path / "x.json"))]


def test_an_empty_file_has_no_items(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("\n")
    assert [*items(str(tmp_path / "x.json"))] == []
