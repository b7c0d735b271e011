"""The passage store: text by row number, and damage that is noticed when it is opened."""

from pathlib import Path

import pyarrow as pa
import pytest

from dynamicrag_cli.adapters.retrievers import store as stores
from dynamicrag_cli.adapters.retrievers.store import FILE, PassageStore, text_of, write_store
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Passage

PASSAGES = [Passage(id=str(i), title="é" * i, text=f"text {i}", meta={"i": [i]} if i % 2 else {}) for i in range(7)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of three batches, the last of which is not full."""
    monkeypatch.setattr(stores, "ROWS", 3)
    assert write_store(tmp_path, iter(PASSAGES)) == 7
    return tmp_path


def test_rows_come_back_in_the_order_asked_for(folder: Path) -> None:
    store = PassageStore(folder)
    assert len(store) == 7
    assert store.get([3, 0, 6, 3]) == [PASSAGES[3], PASSAGES[0], PASSAGES[6], PASSAGES[3]]
    assert store.get(range(2, 5)) == PASSAGES[2:5]
    assert list(store) == PASSAGES


@pytest.mark.parametrize("row", [7, 9, -1])
def test_there_is_no_row_outside(folder: Path, row: int) -> None:
    with pytest.raises((IndexError, ValueError)):
        PassageStore(folder).get([row])


def test_no_more_than_a_batch_is_held_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "ROWS", 3)
    alive, most = 0, 0

    class Counted(str):
        def __new__(cls, value: str):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            return super().__new__(cls, value)

        def __del__(self):
            nonlocal alive
            alive -= 1

    assert write_store(tmp_path, (Passage(id=str(i), title="", text=Counted("x")) for i in range(30))) == 30
    assert most <= 2 * 3


def test_a_store_may_be_empty(tmp_path: Path) -> None:
    assert write_store(tmp_path, []) == 0
    assert list(PassageStore(tmp_path)) == []


def foreign(file: Path) -> None:
    table = pa.table({"other": ["a"]})
    with pa.ipc.new_file(str(file), table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
        lambda file: file.write_bytes(b"nonsense"),
        lambda file: file.write_bytes(b""),
        foreign,
    ],
    ids=["gone", "cut", "halved", "broken", "empty", "foreign"],
)
def test_a_damaged_store_is_an_input_error(folder: Path, damage) -> None:
    damage(folder / FILE)
    with pytest.raises(InputError, match="build the index again"):
        PassageStore(folder)


def test_an_index_of_an_earlier_version_says_so(tmp_path: Path) -> None:
    (tmp_path / "passages.jsonl").write_text('{"id":"a","title":"","text":"x"}\n')
    with pytest.raises(InputError, match=r"earlier version.*build the index again"):
        PassageStore(tmp_path)


def test_title_and_text_are_indexed() -> None:
    assert text_of(Passage(id="a", title="Lion", text="A cat.")) == "Lion A cat."
    assert text_of(Passage(id="a", title="", text="A cat.")) == "A cat."
