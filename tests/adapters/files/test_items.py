"""Items, however the file holds them."""

import json
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("text", ["[1, 2", '{\n"data": 3}', "{\n"])
def test_a_document_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match="neither JSON lines nor a JSON list"):
        [*items(str(tmp_path / "x.json"))]


def test_an_empty_file_has_no_items(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("\n")
    assert [*items(str(tmp_path / "x.json"))] == []
