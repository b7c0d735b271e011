"""What may stand where an output goes; fingerprints are tested through the runner."""

from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.manifest import write_manifest
from dynamicrag_cli.cli.freshness import check_folder_target, is_fresh
from dynamicrag_cli.core.errors import UsageError


def test_a_folder_of_ours_may_be_replaced_and_no_other(tmp_path: Path) -> None:
    check_folder_target(tmp_path / "new", "index")
    check_folder_target(tmp_path, "index")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        check_folder_target(tmp_path, "index")
    write_manifest(tmp_path, {"kind": "model"})
    with pytest.raises(UsageError, match="holds other files"):
        check_folder_target(tmp_path, "index")
    check_folder_target(tmp_path, "model")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        check_folder_target(tmp_path / "file", "index")


def test_an_output_is_fresh_if_its_manifest_says_what_is_wanted(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    assert not is_fresh(output, {"a": 1})
    output.touch()
    assert not is_fresh(output, {"a": 1})
    write_manifest(output, {"fingerprint": {"a": 1}})
    assert is_fresh(output, {"a": 1})
    assert not is_fresh(output, {"a": 2})
