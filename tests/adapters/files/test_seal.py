"""Seals: a file that is gone, cut or swapped is found, and named."""

import os
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files import seal as module
from dynamicrag_cli.adapters.files.seal import check_seal, seal
from dynamicrag_cli.core.errors import InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "_END", 8)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/large").write_bytes(b"begin" + b"x" * 90 + b"end")
    (tmp_path / "small").write_bytes(b"abc")
    (tmp_path / "empty").write_bytes(b"")
    return tmp_path


def test_an_untouched_folder_passes_also_with_files_that_came_later(folder: Path) -> None:
    made = seal(folder)
    assert {name: entry["size"] for name, entry in made.items()} == {"deep/large": 98, "small": 3, "empty": 0}
    (folder / "manifest.json").write_text("{}")
    (folder / "small").touch()
    check_seal(folder, made, "")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("deep/large", None, "deep/large: the file is missing; type x"),
        ("small", b"ab", "small: 2 bytes, but it was made with 3; type x"),
        ("empty", b"a", "empty: 1 bytes, but it was made with 0; type x"),
        ("small", b"abd", "small: another file than the one that was made here; type x"),
        ("deep/large", b"BEGIN" + b"x" * 90 + b"end", "deep/large: another file"),
        ("deep/large", b"begin" + b"x" * 90 + b"END", "deep/large: another file"),
    ],
)
def test_what_changed_is_named_and_left_alone(folder: Path, name: str, content: bytes | None, words: str) -> None:
    made = seal(folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        check_seal(folder, made, "type x")
    assert str(caught.value).startswith(str(folder) + os.sep)
    assert content is None or (folder / name).read_bytes() == content
