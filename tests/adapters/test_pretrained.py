"""Loading of pretrained weights: one kind of error, and no look-up elsewhere for what is meant as a folder."""

from pathlib import Path

import pytest

from dynamicrag_cli.adapters.pretrained import load
from dynamicrag_cli.core.errors import InputError


def test_the_loader_gets_name_and_options(tmp_path: Path) -> None:
    assert load("model", str(tmp_path), lambda name, **options: (name, options), dtype=1) == (str(tmp_path), {"dtype": 1})
    assert load("model", "org/hub-id", lambda name: name) == "org/hub-id"


@pytest.mark.parametrize("error", [OSError("not here\nsecond line"), ValueError("unknown type"), KeyError("no-such")])
def test_what_a_loader_raises_is_one_line(tmp_path: Path, error: Exception) -> None:
    def fail(_name: str) -> None:
        raise error

    with pytest.raises(InputError, match="cannot load the model") as caught:
        load("model", str(tmp_path), fail)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["{tmp}/nowhere", "./nowhere", "../nowhere", "~/no-such-folder", "a/b/c", "here/nowhere"])
def test_what_can_only_be_a_folder_is_not_asked_of_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()

    def loader(_name: str) -> None:
        raise AssertionError("asked")

    with pytest.raises(InputError, match="no such encoder folder"):
        load("encoder", name.format(tmp=tmp_path), loader)


def test_an_error_without_words_is_an_input_error_too(tmp_path: Path) -> None:
    def fail(_name: str) -> None:
        raise OSError

    with pytest.raises(InputError):
        load("model", str(tmp_path), fail)
