"""What a training run does beside the training: several nodes, instructions that are mixed in, the model card."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.test_train import rendered
from tests.samples import read, write

BASE = ("train", "sft", "--data", "sft", "-o", "model", "--model", "base", "--dry-run")


def test_a_dry_run_tells_the_command_of_each_node(drag, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    done = drag(*BASE, "--gpus", 8, "--nodes", 2, "--deepspeed", "zero3.json", "--trainer", "llamafactory-cli")
    first, second = done.err.splitlines()
    assert first.startswith("node 0: ")
    assert "FORCE_TORCHRUN=1 NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1" in first
    assert first.endswith(f"llamafactory-cli train {work}/model.partial/train.yaml")
    assert "NODE_RANK=1" in second
    assert yaml.safe_load(done.out)["deepspeed"] == f"{work}/zero3.json"


def test_ray_counts_its_workers_in_the_settings(drag, work: Path) -> None:
    done = drag(*BASE, "--gpus", 8, "--nodes", 2, "--launcher", "ray", "--trainer", "llamafactory-cli")
    assert yaml.safe_load(done.out)["ray_num_workers"] == 16
    (line,) = done.err.splitlines()
    assert "USE_RAY=1 llamafactory-cli train" in line


def test_the_first_node_says_what_to_start_on_the_others(work: Path, train) -> None:
    done = train("ok", "--nodes", 3)
    assert done.code == 0, done.err
    started = [line for line in done.err.splitlines() if line.startswith("node ")]
    assert [line.partition(":")[0] for line in started] == ["node 1", "node 2"]
    assert f"{work}/model.partial/train.yaml" in started[0]
    # Where its processes run does not change what it makes.
    assert "up to date" in train("oom", "--gpus", 3, "--launcher", "ray").err


def test_quantized_weights_are_for_adapters(drag, work: Path) -> None:
    settings = yaml.safe_load(rendered(drag(*BASE, "--finetuning", "lora", "--quantization-bit", 4), work))
    assert (settings["quantization_bit"], settings["quantization_method"], settings["finetuning_type"]) == (4, "bnb", "lora")
    refused = drag(*BASE, "--quantization-bit", 4)
    assert (refused.code, "--finetuning lora" in refused.err) == (2, True)
    assert drag(*BASE, "--finetuning", "lora", "--quantization-bit", 5).code == 2


def test_instructions_are_mixed_in_and_counted(work: Path, train) -> None:
    rows = [{"instruction": f"Say {number}.", "input": "", "output": str(number)} for number in range(30)]
    (work / "alpaca.json").write_text(json.dumps(rows))
    done = train("ok", "--mix", "alpaca.json:0.5")
    assert done.code == 0, done.err
    settings = yaml.safe_load((work / "model/train.yaml").read_text())
    assert settings["dataset"] == "reranker_bc,generator_sft,mix"
    assert settings["dataset_dir"] == f"{work}/model.partial/data"
    mixed = read(work / "model/data/mix.jsonl")
    assert len(mixed) == 4  # as many as there are others
    assert {example["user"] for example in mixed} < {row["instruction"] for row in rows}
    registry = json.loads((work / "model/data/dataset_info.json").read_text())
    assert registry["mix"]["columns"] == registry["reranker_bc"]["columns"]
    manifest = json.loads((work / "model/manifest.json").read_text())
    assert manifest["counts"] == {"in": 4, "dropped": 0, "steps": 3, "mixed": 4}
    assert "| alpaca.json:0.5 (mixed in) | 4 |" in (work / "model/README.md").read_text()
    assert "up to date" in train("oom", "--mix", "alpaca.json:0.5").err
    (work / "alpaca.json").write_text(json.dumps(rows[:20]))
    assert train("ok", "--mix", "alpaca.json:0.5").code == 0
    assert len(read(work / "model/data/mix.jsonl")) == 4


def test_what_is_mixed_in_is_audited_too(drag, work: Path, trainer: Path, tiny_lm: Path) -> None:
    sound = {"id": "a", "role": "generator", "system": "S", "user": "U", "assistant": "A"}
    for stem in ("reranker_bc", "generator_sft"):
        write(work / f"sft/{stem}.jsonl", [sound])
    rows = [{"instruction": "Say it.", "output": "It."}, {"instruction": "Say <|im_end|>.", "output": "No."}]
    write(work / "alpaca.jsonl", rows)
    call = ("train", "sft", "--data", "sft", "-o", "model", "--model", tiny_lm, "--trainer", trainer, "--mix", "alpaca.jsonl")
    assert drag(*call).code == 4
    done = drag(*call, "--max-bad-share", 0.5)
    assert done.code == 0, done.err
    assert [example["user"] for example in read(work / "model/data/mix.jsonl")] == ["Say it."]
    assert json.loads((work / "model/manifest.json").read_text())["audit"]["bad"]["mix"] == {"alpaca-1-2": ["control_token"]}


def test_mixing_has_no_place_in_groups(work: Path, train) -> None:
    write(work / "alpaca.jsonl", [{"instruction": "x", "output": "y"}])
    refused = train("ok", "--mix", "alpaca.jsonl", "--in-groups")
    assert (refused.code, "--in-groups" in refused.err) == (2, True)
    assert train("ok", "--mix", "nowhere.json").code == 4
    assert train("ok", "--mix", "alpaca.jsonl:3").code == 2


def test_the_checkpoint_has_a_card(work: Path, train) -> None:
    for stage in ("sft", "dpo"):
        done = train("ok", "--fresh", stage=stage)
        assert done.code == 0, done.err
        text = (work / "model/README.md").read_text()
        assert f"`base` after `drag train {stage}`" in text
        assert "loss 2.500 -> 0.500" in text
