"""Fixtures of several tests of commands: `drag train` with a stand-in for LLaMA-Factory, a corpus, a stage to run."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.trainers import llamafactory
from tests import fake_trainer
from tests.samples import BROKEN, PASSAGES, question, write

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


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "corpus.jsonl", PASSAGES)


@pytest.fixture
def pair(drag, corpus: Path, tmp_path: Path, tiny_encoder: Path) -> dict[str, Path]:
    """A BM25 and a dense index of the corpus, and of another corpus of the same size."""
    other = write(tmp_path / "other.jsonl", [{**p, "text": p.get("text", p.get("contents"))[::-1]} for p in PASSAGES])
    made = {}
    for name, source in (("own", corpus), ("other", other)):
        for retriever in ("bm25", "dense"):
            made[f"{name}-{retriever}"] = tmp_path / f"{name}-{retriever}"
            extra = ["--model", tiny_encoder] if retriever == "dense" else []
            done = drag("index", source, "-o", made[f"{name}-{retriever}"], "--retriever", retriever, *extra)
            assert done.code == 0, done.err
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Eleven questions and a broken line in their midst."""
    path = write(tmp_path / "in.jsonl", (question(number) for number in range(11)))
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:4], BROKEN, *lines[4:]]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def label(drag, source: Path) -> Callable[..., object]:
    def run(output: Path | str, *more: object, **stdin: bytes):
        given = "-" if stdin else source
        return drag("rerank-teacher", given, "-o", output, "--teacher", "answer-match", "--max-reject-rate", 1, *more, **stdin)

    return run
