"""The real LLaMA-Factory, for tests that take its steps: they are skipped where there is none."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

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


def ask_trainer(code: str, *arguments: object) -> Any:
    """What `answer` is after some code in the trainer's Python, which finds the arguments in `sys.argv` as JSON."""
    program = f"import json, sys\n{code}\nprint('ANSWER', json.dumps(answer))"
    done = subprocess.run(
        [PYTHON, "-c", program, *map(json.dumps, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "DISABLE_VERSION_CHECK": "1"},
        check=False,
    )
    assert "ANSWER" in done.stdout, done.stderr[-2000:]
    return json.loads(done.stdout.split("ANSWER ")[1])
