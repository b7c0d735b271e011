"""Recipes of docs/training.md that run on a CPU, with the real LLaMA-Factory and a tiny random model."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.real_trainer import NEEDS_TRAINER, ROOT, TRAINER
from tests.samples import labelled, write

pytestmark = NEEDS_TRAINER


@pytest.fixture
def data(drag, tmp_path: Path, tiny_lm: Path) -> Path:
    source = write(tmp_path / "in.jsonl", (labelled(number, split="train") for number in range(8)))
    assert drag("build-bc", source, "-o", tmp_path / "bc", "--dpo-share", 0, "--tokenizer", tiny_lm).code == 0
    return tmp_path / "bc"


def command(data: Path, model: Path, *options: object) -> list[str]:
    call = [sys.executable, "-m", "dynamicrag_cli", "train", "sft", "--data", data, "-o", data.parent / "model", "--model", model]
    common = ["--template", "smollm2", "--use-cpu", "--no-bf16", "--cutoff", 1024, "--accumulation", 1, "--max-steps", 2]
    return [*map(str, [*call, *common, "--trainer", TRAINER, *options])]


def test_adapters_trained_on_two_nodes_become_a_checkpoint_that_an_engine_loads(data: Path, tiny_lm: Path) -> None:
    """Two torchrun nodes on this machine: ours, and the one whose command ours prints."""
    from dynamicrag_cli.adapters.engines.hf import HfEngine
    from dynamicrag_cli.adapters.engines.settings import EngineSettings
    from dynamicrag_cli.core.engine import ChatRequest
    from dynamicrag_cli.core.prompts import Chat

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    options = ("--nodes", 2, "--finetuning", "lora", "--batch-size", 4)
    dry = subprocess.run(
        [*command(data, tiny_lm, *options), "--dry-run"], capture_output=True, text=True, env=environment, check=True
    )
    _, second = dry.stderr.splitlines()
    first = subprocess.Popen(command(data, tiny_lm, *options), stderr=subprocess.PIPE, text=True, env=environment)
    building = data.parent / "model.partial"
    while first.poll() is None and not (building / "train.yaml").exists():
        time.sleep(0.1)
    other = subprocess.run(
        ["sh", "-c", second.removeprefix("node 1: ")], capture_output=True, text=True, env=environment, check=False
    )
    _, told = first.communicate()
    assert first.returncode == 0, told[-3000:] + other.stderr[-3000:]
    assert second in told
    assert other.returncode == 0, other.stderr[-3000:]
    model = data.parent / "model"
    manifest = json.loads((model / "manifest.json").read_text())
    assert manifest["counts"]["steps"] == 2
    # 16 examples in batches of 4 on two processes: two steps are one pass.
    assert '"epoch": 1.0' in (model / "adapter/trainer_log.jsonl").read_text()
    assert (model / "training_loss.png").stat().st_size > 0
    assert "LLaMA-Factory 0." in (model / "README.md").read_text()
    request = ChatRequest("q", Chat("Be brief.", "Hello"))
    ours, base = (HfEngine(str(folder), EngineSettings(device="cpu")).score([request], ["yes"])[0] for folder in (model, tiny_lm))
    assert ours != base


def test_a_loss_that_is_no_number_is_told_in_one_line(data: Path, tiny_lm: Path) -> None:
    done = subprocess.run(
        command(data, tiny_lm, "--learning-rate", "1e30", "--warmup", 0, "--max-steps", 8, "--batch-size", 4),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 5
    last = [line for line in done.stderr.splitlines() if "the loss became" in line or line.startswith("Log: ")]
    assert len(last) == 2, done.stderr[-2000:]


def test_a_template_of_another_model_is_refused_before_the_first_step(data: Path, tiny_lm: Path) -> None:
    typed = command(data, tiny_lm, "--max-steps", 1, "--batch-size", 4)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    typed[typed.index("smollm2")] = "llama3"
    done = subprocess.run(typed, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2, done.stderr[-2000:]
    assert "--template llama3 writes prompts otherwise than the chat template of" in done.stderr
    assert "from token 1 on '<|start_header_id|>system" in done.stderr
    assert not list((data.parent / "model.partial").rglob("trainer_log.jsonl"))
