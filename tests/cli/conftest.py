"""`drag train` with a stand-in for LLaMA-Factory."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.trainers import llamafactory
from tests import fake_trainer
from tests.samples import write

DATA = {"sft": ("reranker_bc", "generator_sft"), "dpo": ("reranker_dpo", "generator_dpo")}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with training data and a base model, which is also the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(llamafactory, "_POLL_S", 0.01)
    for stage, stems in DATA.items():
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "dataset_info.json").write_text(json.dumps({stem: {} for stem in stems}))
        for stem in stems:
            write(tmp_path / stage / f"{stem}.jsonl", [{"id": "a"}, {"id": "b"}])
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text("{}")
    return tmp_path


@pytest.fixture
def trainer(work: Path) -> Path:
    return fake_program(work)


def fake_program(folder: Path) -> Path:
    """An executable that stands in for llamafactory-cli."""
    program = folder / "llamafactory-cli"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {fake_trainer.__file__} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def train(drag, trainer: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    def run(act: str, *more: object, stage: str = "sft"):
        monkeypatch.setenv("FAKE_TRAINER", act)
        monkeypatch.setenv("DRAG_TRAINER", str(trainer))
        return drag("train", stage, "--data", stage, "-o", "model", "--model", "base", "--no-audit", *more)

    return run
