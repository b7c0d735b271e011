"""The folder in which a training builds its checkpoint, from the first step to the move to its place."""

import json
import shutil
from pathlib import Path
from typing import Any

from dynamicrag_cli.adapters.files.manifest import differences, same, write_manifest
from dynamicrag_cli.core.errors import UsageError


def prepare(building: Path, wanted: dict[str, Any], *, fresh: bool) -> None:
    """Keep the folder of an interrupted run with equal settings: the trainer goes on from its checkpoint.

    Raises:
        UsageError: The folder holds a checkpoint of a run with other settings.
    """
    note = building / "fingerprint.json"
    found = json.loads(note.read_text(encoding="utf-8")) if note.exists() else None
    if not same(found, wanted) and any(building.rglob("checkpoint-*")) and not fresh:
        changed = "\n  ".join(differences(found or {}, wanted))
        raise UsageError(
            f"{building} holds an unfinished training with other settings:\n  {changed}\n"
            "Repeat the command with its settings to finish it, or type --fresh to throw it away."
        )
    for checkpoint in building.rglob("checkpoint-*"):
        # Its state is written last; a checkpoint without it was torn by a kill, and the trainer would stumble over it.
        if not (checkpoint / "trainer_state.json").exists():
            shutil.rmtree(checkpoint)
    if building.exists() and (fresh or not same(found, wanted) or not any(building.rglob("checkpoint-*"))):
        # LLaMA-Factory goes on from a checkpoint and refuses a folder that holds anything else.
        shutil.rmtree(building)
    building.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(wanted), encoding="utf-8")


def finish(building: Path, output: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, drop what only a running training needs, and move the checkpoint to its place."""
    write_manifest(building, manifest)
    move(building, output)


def move(building: Path, output: Path) -> None:
    """Move a finished checkpoint to its place, without what only a running training needs."""
    for checkpoint in building.rglob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    shutil.rmtree(output, ignore_errors=True)
    building.rename(output)
    (output / "fingerprint.json").unlink(missing_ok=True)
