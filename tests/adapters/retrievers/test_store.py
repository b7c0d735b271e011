"""The passage store: text by row number, and damage that is noticed when it is opened."""

from pathlib import Path

import pytest

from dynamicrag_cli.adapters.retrievers.store import PassageStore, text_of, write_store
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Passage

PASSAGES = [Passage(id=str(i), title="é" * i, text=f"text {i}", meta={"i": i} if i % 2 else {}) for i in range(5)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert write_store(tmp_path, iter(PASSAGES)) == 5
    return tmp_path


def test_rows_come_back_in_the_order_asked_for(folder: Path) -> None:
    store = PassageStore(folder)
    assert len(store) == 5
    assert store.get([3, 0, 3]) == [PASSAGES[3], PASSAGES[0], PASSAGES[3]]
    assert list(store) == PASSAGES


def test_a_store_may_be_empty(tmp_path: Path) -> None:
    assert write_store(tmp_path, []) == 0
    assert list(PassageStore(tmp_path)) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "passages.jsonl").unlink(),
        lambda folder: (folder / "offsets.npy").unlink(),
        lambda folder: (folder / "passages.jsonl").write_bytes((folder / "passages.jsonl").read_bytes()[:-1]),
        lambda folder: (folder / "offsets.npy").write_bytes(b"nonsense"),
        pytest.param(
            lambda folder: (folder / "offsets.npy").write_bytes(b""),
        ),
    ],
    ids=["no-passages", "no-offsets", "cut-passages", "broken-offsets", "empty-offsets"],
)
def test_a_damaged_store_is_an_input_error(folder: Path, damage) -> None:
    damage(folder)
    with pytest.raises(InputError, match="build the index again"):
        PassageStore(folder)


def test_title_and_text_are_indexed() -> None:
    assert text_of(Passage(id="a", title="Lion", text="A cat.")) == "Lion A cat."
    assert text_of(Passage(id="a", title="", text="A cat.")) == "A cat."
