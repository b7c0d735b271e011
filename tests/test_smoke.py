"""The complete loop as `make` runs it: tiny random models, scripted sampling and judge, real steps of LLaMA-Factory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real_trainer import NEEDS_TRAINER, ROOT, TRAINER, ask_trainer
from tests.tiny_models import build_tiny_encoder, build_tiny_lm

REPLIES = {
    "rules": [
        {"contains": "Answer to grade:", "replies": ["80"]},
        {"contains": "WHICH_PASSAGES", "replies": ["[1]", "[2], [1]", "None", "[1]"]},
    ],
    "default": "Donaueschingen",
}


def run_make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SMOKE": str(folder), "DRAG_TRAINER": str(TRAINER)}
    command = [
        "make",
        "--no-print-directory",
        "-C",
        str(ROOT),
        "CONFIG=pipelines/smoke.yaml",
        f"DRAG={sys.executable} -m dynamicrag_cli",
    ]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smoke")
    build_tiny_lm(folder / "tiny-lm")
    build_tiny_encoder(folder / "tiny-encoder")
    last_words = (ROOT / "templates/prompts/reranker.user.jinja").read_text().strip().splitlines()[-1]
    script = json.dumps(REPLIES).replace("WHICH_PASSAGES", last_words)
    (folder / "replies.json").write_text(script)
    done = run_make(folder, "all")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder / "run"


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


pytestmark = NEEDS_TRAINER


def test_every_stage_keeps_every_question(run: Path) -> None:
    asked = [r["id"] for r in records(run / "candidates.jsonl")]
    assert len(asked) == 60
    assert [r["id"] for r in records(run / "labelled.jsonl")] == asked
    pool = [r["id"] for r in records(run / "bc/dpo_pool.jsonl")]
    assert [r["id"] for r in records(run / "rewarded.jsonl")] == pool
    assert not set(pool) & {r["id"] for r in records(run / "bc/generator_sft.jsonl")}


def test_training_changed_the_weights_and_the_loss_is_kept(run: Path) -> None:
    from safetensors.torch import load_file

    before, sft, dpo = (load_file(folder / "model.safetensors") for folder in (run.parent / "tiny-lm", run / "sft", run / "dpo"))
    name = "model.layers.0.mlp.up_proj.weight"
    assert not before[name].equal(sft[name])
    assert not sft[name].equal(dpo[name])
    assert [step for step, _ in json.loads((run / "sft/manifest.json").read_text())["loss"]] == [1, 2, 3]
    assert len(json.loads((run / "dpo/manifest.json").read_text())["loss"]) == 2


def test_rewards_and_pairs_follow_from_the_scripted_rollouts(run: Path) -> None:
    first = records(run / "rewarded.jsonl")[0]
    assert [r["selection"] for r in first["rollouts"]][2] == []
    assert all(reward["terms"]["judge"] == 0.8 and reward["total"] is not None for reward in first["rewards"])
    pairs = records(run / "dpo-data/reranker_dpo.jsonl")
    assert pairs
    assert all(pair["chosen"] != pair["rejected"] and pair["margin"] > 0 for pair in pairs)


def test_the_report_has_a_row_for_each_system(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    systems = {system["system"]: system for system in report["systems"]}
    assert list(systems) == ["none", "gold", "sft", "scripted"]
    assert systems["none"]["mean_passages"] == 0
    assert systems["gold"]["scores"]["selection_f1"]["mean"] > systems["none"]["scores"]["selection_f1"]["mean"]
    assert all(system["questions"] == 6 for system in systems.values())


def test_the_report_is_a_page(run: Path) -> None:
    """Pictures and questions of what the stages left."""
    done = run_make(run.parent, "report")
    assert done.returncode == 0, done.stderr[-3000:]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert all(
        f"<figcaption>{title}" in page for title in ("Answer score", "Loss of train dpo", "Reward terms", "Records per stage")
    )
    assert "What is missing" not in page


def test_a_second_make_runs_no_stage_again(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != "report.json"}
    again = run_make(run.parent, "all")
    assert again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_trainer_and_the_engine_see_the_same_tokens(run: Path) -> None:
    """LLaMA-Factory's encoding of an example is the engine's rendering of its prompt, followed by the reply."""
    from dynamicrag_cli.adapters.engines.hf import HfEngine
    from dynamicrag_cli.adapters.engines.settings import EngineSettings
    from dynamicrag_cli.core.prompts import Chat

    example = records(run / "bc/reranker_bc.jsonl")[0]
    code = (
        "from transformers import AutoTokenizer\n"
        "from llamafactory.data.template import TEMPLATES\n"
        "model, example = map(json.loads, sys.argv[1:])\n"
        "messages = [{'role': 'user', 'content': example['user']}, {'role': 'assistant', 'content': example['assistant']}]\n"
        "tokenizer = AutoTokenizer.from_pretrained(model)\n"
        "answer = TEMPLATES['smollm2'].encode_oneturn(tokenizer, messages, example['system'])"
    )
    prompt, reply = ask_trainer(code, str(run / "sft"), example)
    engine = HfEngine(str(run / "sft"), EngineSettings(device="cpu"))
    assert engine.encode([Chat(example["system"], example["user"])]) == [prompt]
    assert engine.tokenizer.decode(reply).startswith(example["assistant"])
