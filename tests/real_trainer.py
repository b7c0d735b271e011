"""The real LLaMA-Factory, for tests that take its steps: they are skipped where there is none."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAINER = Path(shutil.which(os.environ.get("DRAG_TRAINER", "")) or ROOT / ".venv-train/bin/llamafactory-cli")
PYTHON = TRAINER.parent / "python"

NEEDS_TRAINER = [pytest.mark.train, pytest.mark.skipif(not TRAINER.exists(), reason="no training environment: make setup")]


def with_trainer(test):
    """Mark a test that needs the real trainer."""
    for mark in NEEDS_TRAINER:
        test = mark(test)
    return test
