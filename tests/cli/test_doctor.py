"""`drag doctor`: a table for people, a document for programs, an exit code for scripts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynamicrag_cli.adapters import machine
from dynamicrag_cli.adapters.machine import Fact
from tests.conftest import ROOT


def test_the_base_is_there(drag) -> None:
    done = drag("doctor")
    assert (done.code, done.out, done.error) == (0, b"", None)
    for words in ("python", "memory", "faiss", "torch", "retrieval", "vllm", "train"):
        assert words in done.err


def test_the_document_holds_every_row(drag) -> None:
    done = drag("doctor", "--json")
    assert done.code == 0
    document = json.loads(done.out)
    assert (document["ok"], document["config"]) == (True, None)
    rows = {(fact["part"], fact["name"]): fact for fact in document["facts"]}
    assert {("machine", "cuda"), ("machine", "disk"), ("base", "packages"), ("extra", "local"), ("extra", "train")} <= {*rows}
    assert rows["machine", "python"]["values"]["version"] in done.err
    assert all(name in done.err for _, name in rows)


def test_what_the_base_lacks_is_exit_3(drag, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = [Fact("base", "packages", "missing", "no msg[spec]", "type [this]", needed=True)]
    monkeypatch.setattr(machine, "packages", lambda needed: gone)
    done = drag("doctor", "--json")
    assert done.code == 3
    assert json.loads(done.out)["ok"] is False
    assert "NEEDED packages: type [this]" in done.err
    assert "no msg[spec]" in done.err


def test_what_a_pipeline_file_lacks_is_exit_3(drag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text("run: {dir: runs/x, corpus: c.jsonl, questions: c.jsonl}\nindex: {retriever: bm25}\n")
    done = drag("doctor", "--config", "p.yaml")
    assert done.code == 3
    assert "no such file: c.jsonl" in done.err
    assert "lacking, and p.yaml needs it: pipeline corpus" in done.err
    Path("c.jsonl").write_text("")
    done = drag("doctor", "--config", "p.yaml")
    assert done.code == 0
    assert "next: make index CONFIG=p.yaml" in done.err
    # Neither vLLM nor a trainer is asked for by this file, so their absence does not count.
    assert "vllm" in done.err


def test_an_extra_that_only_the_pipeline_needs_counts(drag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(machine, "packages", lambda needed: asked.append({*needed}) or [])
    monkeypatch.setattr(machine, "trainer", lambda needed, also: Fact("extra", "train", "missing", "none", "make setup", needed))
    (tmp_path / "p.yaml").write_text("sample: {engine: vllm}\n")
    assert drag("doctor", "--config", tmp_path / "p.yaml").code == 0
    assert asked == [{"vllm"}]
    (tmp_path / "p.yaml").write_text("train: {sft: {epochs: 1}}\n")
    assert drag("doctor", "--config", tmp_path / "p.yaml").code == 3


def test_a_file_that_is_not_there_is_exit_4(drag, tmp_path: Path) -> None:
    assert drag("doctor", "--config", tmp_path / "nowhere.yaml").code == 4


def test_only_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['drag', 'doctor']\n"
        "from dynamicrag_cli.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, env=environment)
    loaded = {*done.stdout.split()}
    assert "torch" in loaded
    assert not loaded & {"transformers", "faiss", "bm25s", "sentence_transformers", "vllm", "openai", "llamafactory"}
