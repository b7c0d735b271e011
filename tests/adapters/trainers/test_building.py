"""The folder of a training; its life as a whole is tested in tests/cli/test_train.py."""

import json
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.manifest import read_manifest
from dynamicrag_cli.adapters.trainers.building import finish, prepare
from dynamicrag_cli.core.errors import UsageError


def checkpoint(folder: Path, *, whole: bool = True) -> Path:
    made = folder / "checkpoint-5"
    made.mkdir(parents=True)
    if whole:
        (made / "trainer_state.json").write_text("{}")
    return made


def test_a_checkpoint_of_the_same_run_stays_and_a_torn_one_goes(tmp_path: Path) -> None:
    building = tmp_path / "m.partial"
    prepare(building, {"a": 1}, fresh=False)
    made = checkpoint(building)
    prepare(building, {"a": 1}, fresh=False)
    assert made.exists()
    (made / "trainer_state.json").unlink()
    prepare(building, {"a": 1}, fresh=False)
    assert not made.exists()


def test_a_checkpoint_of_another_run_is_refused_unless_fresh(tmp_path: Path) -> None:
    building = tmp_path / "m.partial"
    prepare(building, {"a": 1}, fresh=False)
    made = checkpoint(building)
    with pytest.raises(UsageError, match="a: 1 -> 2"):
        prepare(building, {"a": 2}, fresh=False)
    (made / "trainer_state.json").write_text("{}")
    prepare(building, {"a": 1, "new option": None}, fresh=False)
    assert made.exists()
    prepare(building, {"a": 2}, fresh=True)
    assert not made.exists()
    assert json.loads((building / "fingerprint.json").read_text()) == {"a": 2}


def test_a_finished_training_is_moved_without_its_checkpoints(tmp_path: Path) -> None:
    building, output = tmp_path / "m.partial", tmp_path / "m"
    prepare(building, {"a": 1}, fresh=False)
    checkpoint(building)
    (building / "model.safetensors").write_text("weights")
    finish(building, output, {"kind": "model", "fingerprint": {"a": 1}})
    assert sorted(path.name for path in output.iterdir()) == ["manifest.json", "model.safetensors"]
    assert read_manifest(output)["fingerprint"] == {"a": 1}
    assert not building.exists()
