"""Loading of pretrained weights: one kind of error, and no look-up elsewhere for what is meant as a folder."""

from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.restricted import UnpicklingError
from dynamicrag_cli.adapters.pretrained import load, pinned
from dynamicrag_cli.core.errors import InputError


def test_the_loader_gets_name_and_options(tmp_path: Path) -> None:
    name, options = load("model", str(tmp_path), lambda name, **options: (name, options), dtype=1)
    assert (name, options["dtype"]) == (str(tmp_path), 1)
    assert load("model", "org/hub-id", lambda name, **_options: name) == "org/hub-id"


def test_code_of_a_model_runs_only_if_the_caller_says_so() -> None:
    def loader(_name: str, **options: object) -> object:
        return options["trust_remote_code"]

    assert load("model", "org/hub-id", loader) is False
    assert load("model", "org/hub-id", loader, trust_remote_code=True) is True


def test_a_pin_is_for_weights_and_code_of_a_hub_and_never_for_a_folder(tmp_path: Path) -> None:
    sha = "0" * 40
    assert pinned("org/m", None, False) == {"trust_remote_code": False}
    assert pinned("org/m", sha, False) == {"revision": sha, "code_revision": sha, "trust_remote_code": False}
    assert pinned("org/m", sha, True)["trust_remote_code"] is True
    # Without a commit there is nothing to trust, whatever the caller says.
    assert pinned("org/m", None, True) == pinned(str(tmp_path), sha, True) == {"trust_remote_code": False}


@pytest.mark.parametrize("error", [OSError("not here\nsecond line"), ValueError("unknown type"), KeyError("no-such")])
def test_what_a_loader_raises_is_one_line(tmp_path: Path, error: Exception) -> None:
    def fail(_name: str, **_options: object) -> None:
        raise error

    with pytest.raises(InputError, match="cannot load the model") as caught:
        load("model", str(tmp_path), fail)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["{tmp}/nowhere", "./nowhere", "../nowhere", "~/no-such-folder", "a/b/c", "here/nowhere", "sft"])
def test_what_can_only_be_a_folder_is_not_asked_of_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()

    def loader(_name: str, **_options: object) -> None:
        raise AssertionError("asked")

    with pytest.raises(InputError, match="no such encoder folder"):
        load("encoder", name.format(tmp=tmp_path), loader)


def test_an_error_without_words_is_an_input_error_too(tmp_path: Path) -> None:
    def fail(_name: str, **_options: object) -> None:
        raise OSError

    with pytest.raises(InputError):
        load("model", str(tmp_path), fail)


def test_a_pickle_with_more_than_weights_is_an_input_error(tmp_path: Path) -> None:
    def fail(_name: str, **_options: object) -> None:
        raise UnpicklingError("set weights_only to False\nand be lost")

    with pytest.raises(InputError, match="nothing of it was run") as caught:
        load("model", str(tmp_path), fail)
    assert "weights_only" not in str(caught.value)
