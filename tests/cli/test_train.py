"""`drag train`: the settings that LLaMA-Factory gets, and what becomes of a training that succeeds, fails or is stopped."""

import gc
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import yaml

from dynamicrag_cli.adapters.trainers import llamafactory
from tests import fake_trainer
from tests.cli.conftest import DATA
from tests.conftest import ROOT
from tests.samples import read, write

GOLDEN = ROOT / "tests/golden/llamafactory"


def rendered(done, work: Path) -> str:
    assert done.code == 0, done.err
    return done.out.decode().replace(str(work), "/somewhere")


PAPER = {
    "sft": ["--template", "llama3"],
    "dpo": [
        "--template",
        "smollm2",
        "--use-cpu",
        "--no-bf16",
        "--finetuning",
        "freeze",
        "--sft-weight",
        "0.5",
        "--max-steps",
        "3",
    ],
}


@pytest.mark.parametrize("stage", DATA)
def test_the_settings_are_the_golden_file(drag, work: Path, stage: str) -> None:
    done = drag("train", stage, "--data", stage, "-o", "model", "--model", "base", "--dry-run", *PAPER[stage])
    assert rendered(done, work) == (GOLDEN / f"{stage}.yaml").read_text()
    assert not (work / "model.partial").exists()


@pytest.mark.parametrize("stage", DATA)
def test_the_settings_are_yaml_with_every_value_in_its_place(drag, work: Path, stage: str) -> None:
    call = ("train", stage, "--data", stage, "-o", "model", "--model", "base", "--dry-run", "--seed", 5)
    settings = yaml.safe_load(rendered(drag(*call), work))
    assert (settings["stage"], settings["seed"]) == (stage, 5)
    assert settings["dataset"] == ",".join(DATA[stage])
    assert (settings["dataset_dir"], settings["output_dir"]) == (f"/somewhere/{stage}", "/somewhere/model.partial")
    assert settings["model_name_or_path"] == "/somewhere/base"
    assert "deepspeed" not in settings
    assert settings.get("pref_beta") == (0.1 if stage == "dpo" else None)


def test_paths_are_quoted(drag, work: Path) -> None:
    odd = work / "run #1: mine"
    done = drag("train", "sft", "--data", "sft", "-o", odd / "model", "--model", "base", "--dry-run")
    assert yaml.safe_load(done.out)["output_dir"] == str(odd / "model.partial")


def test_no_checkpoints_on_the_way(drag, work: Path) -> None:
    call = ("train", "sft", "--data", "sft", "-o", "model", "--model", "base", "--dry-run", "--save-steps", 0)
    assert yaml.safe_load(rendered(drag(*call), work))["save_strategy"] == "no"


@pytest.mark.parametrize("rate", [1e-5, 5e-6, 0.0001, 3.14159265e-5, 1.0])
def test_learning_rates_are_numbers_in_yaml(drag, work: Path, rate: float) -> None:
    call = ("train", "sft", "--data", "sft", "-o", "model", "--model", "base", "--dry-run", "--learning-rate", rate)
    assert yaml.safe_load(rendered(drag(*call), work))["learning_rate"] == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (
            ["--finetuning", "lora", "--lora-rank", "4"],
            {"lora_rank": 4, "lora_alpha": 8, "output_dir": "/somewhere/model.partial/adapter"},
        ),
        (["--finetuning", "freeze", "--trainable-layers", "3"], {"freeze_trainable_layers": 3}),
        (["--deepspeed", "zero3.json"], {"deepspeed": "/somewhere/zero3.json"}),
        (["--role", "generator"], {"dataset": "generator_sft"}),
        (["--model", "org/hub-id"], {"model_name_or_path": "org/hub-id"}),
    ],
)
def test_options_reach_the_settings(drag, work: Path, options: list[str], wanted: dict) -> None:
    done = drag("train", "sft", "--data", "sft", "-o", "model", "--model", "base", "--dry-run", *options)
    assert yaml.safe_load(rendered(done, work)).items() >= wanted.items()


def test_a_training_leaves_a_checkpoint_with_its_loss_curve(work: Path, train) -> None:
    done = train("ok", "--gpus", 2)
    assert done.code == 0, done.err
    assert (work / "model/model.safetensors").read_text() == "weights"
    manifest = json.loads((work / "model/manifest.json").read_text())
    assert manifest["loss"] == [[1, 2.5], [2, 1.5], [3, 0.5]]
    assert (manifest["kind"], manifest["stage"], manifest["counts"]) == ("model", "sft", {"in": 4, "dropped": 0, "steps": 3})
    assert "4 examples, 3 steps, loss 2.500 -> 0.500" in done.err
    assert json.loads((work / "model/seen.json").read_text())["gpus"] == "2"
    assert "loading" in (work / "model/train.log").read_text()
    assert not (work / "model.partial").exists()
    assert not list((work / "model").rglob("checkpoint-*"))
    assert not (work / "model/fingerprint.json").exists()


def test_no_file_is_left_open(train, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", left.append)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        assert train("ok").code == 0
        gc.collect()
    assert left == []


@pytest.mark.parametrize("stage", DATA)
def test_in_groups_the_examples_of_a_question_stand_together(work: Path, train, stage: str) -> None:
    rerank, answer = DATA[stage]
    names = [f"q{number}" for number in range(30)]
    suffixes = ("#0", "#1") if stage == "sft" else ("",)
    write(work / stage / f"{rerank}.jsonl", [{"id": f"{name}{suffix}"} for suffix in suffixes for name in names])
    write(work / stage / f"{answer}.jsonl", [{"id": name} for name in names])
    size = len(suffixes) + 1
    refused = train("ok", "--in-groups", "--batch-size", 1, "--accumulation", size + 1, stage=stage)
    assert (refused.code, f"has {size} examples" in refused.err) == (2, True)
    done = train("ok", "--in-groups", "--batch-size", 1, "--accumulation", size, stage=stage)
    assert done.code == 0, done.err
    settings = yaml.safe_load((work / "model/train.yaml").read_text())
    assert (settings["dataset"], settings["dataset_dir"]) == ("grouped", f"{work}/model.partial/data")
    assert settings["disable_shuffling"] is True
    order = [record["id"] for record in read(work / "model/data/grouped.jsonl")]
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    assert all(group == [*(f"{group[-1]}{suffix}" for suffix in suffixes), group[-1]] for group in groups)
    asked = [group[-1] for group in groups]
    assert sorted(asked) == sorted(names)
    assert asked != names
    registry = json.loads((work / "model/data/dataset_info.json").read_text())
    assert registry["grouped"].get("ranking", False) is (stage == "dpo")


def test_in_groups_an_id_may_hold_a_number_sign(work: Path, train) -> None:
    names = ["a#1", "a#2", "b#1", "b#2"]
    write(work / "sft/reranker_bc.jsonl", [{"id": f"{name}#0"} for name in names])
    write(work / "sft/generator_sft.jsonl", [{"id": name} for name in names])
    train("ok", "--in-groups", "--batch-size", 2, "--accumulation", 1)
    order = [record["id"] for record in read(work / "model/data/grouped.jsonl")]
    assert all(order[order.index(f"{name}#0") + 1] == name for name in names)


def test_an_equal_training_is_up_to_date_and_other_data_trains_anew(work: Path, train) -> None:
    train("ok")
    assert "up to date" in train("oom", "--save-steps", 7).err
    write(work / "sft/reranker_bc.jsonl", [{"id": "c"}])
    assert "3 examples" in train("ok").err
    assert train("oom", "--epochs", 3).code == 5


def test_adapters_are_merged_into_the_weights(work: Path, train) -> None:
    done = train("ok", "--finetuning", "lora")
    assert done.code == 0, done.err
    assert (work / "model/model.safetensors").read_text() == "merged weights"
    assert (work / "model/adapter/adapter.bin").exists()
    assert not (work / "model/merged").exists()
    assert len(json.loads((work / "model/manifest.json").read_text())["loss"]) == 3


@pytest.mark.parametrize(
    "options",
    [
        [],
        pytest.param(
            ["--save-steps", "0"],
        ),
    ],
    ids=["checkpoints", "none"],
)
def test_adapters_that_could_not_be_merged_are_merged_by_the_same_command(work: Path, train, options: list[str]) -> None:
    call = ("--finetuning", "lora", *options)
    failed = train("unmerged", *call)
    assert (failed.code, "disk full" in failed.err) == (5, True)
    done = train("ok", *call)
    assert done.code == 0, done.err
    assert (work / "model/model.safetensors").read_text() == "merged weights"


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("oom", "out of memory: lower --batch-size or --cutoff"),
        ("template", "no such chat template: see --template"),
        ("nan", "loss became nan at step 2; lower --learning-rate"),
        ("killed", "exit -9): killed from outside, most often for want of memory"),
        ("die", "KeyError: 'surprise'"),
    ],
)
def test_a_training_that_fails_is_exit_5_with_its_cause_and_log(work: Path, train, act: str, words: str) -> None:
    done = train(act)
    assert (done.code, done.error) == (5, None)
    assert words in done.err
    assert "train.log" in done.err
    assert not (work / "model").exists()


def test_a_failed_training_goes_on_from_its_checkpoint(work: Path, train) -> None:
    assert train("die").code == 5
    assert (work / "model.partial/checkpoint-1").is_dir()
    assert train("ok").code == 0
    assert json.loads((work / "model/seen.json").read_text())["found"] == ["checkpoint-1"]


def test_fresh_throws_an_unfinished_training_away(work: Path, train) -> None:
    train("die")
    assert train("ok", "--fresh").code == 0
    assert json.loads((work / "model/seen.json").read_text())["found"] == []


def test_ctrl_c_stops_the_trainer_and_the_training_goes_on_later(work: Path, train, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = work / "model.partial/seen.json"

    def press_ctrl_c(_seconds: float) -> None:
        for _ in range(3000):
            if seen.exists() and seen.read_text():
                raise KeyboardInterrupt
            real_sleep(0.01)

    real_sleep = time.sleep
    with monkeypatch.context() as patch:
        patch.setattr(llamafactory.time, "sleep", press_ctrl_c)
        done = train("hang")
    assert done.code == 130
    assert "goes on from the last saved step" in done.err
    with pytest.raises(ProcessLookupError):
        os.kill(json.loads(seen.read_text())["pid"], 0)
    assert train("ok").code == 0


def test_a_scheduler_that_ends_the_job_ends_the_trainer_and_its_workers(work: Path, trainer: Path) -> None:
    """In real processes: the trainer's own child, as torchrun has them, must be gone too."""
    trainer.write_text(f'#!/bin/sh\nsleep 60 &\necho $! > {work}/worker\nexec {sys.executable} -S {fake_trainer.__file__} "$@"\n')
    command = [
        sys.executable,
        "-m",
        "dynamicrag_cli",
        "train",
        "sft",
        "--data",
        "sft",
        "-o",
        "model",
        "--model",
        "base",
        "--no-audit",
    ]
    environment = {**os.environ, "FAKE_TRAINER": "hang", "DRAG_TRAINER": str(trainer), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, cwd=work)
    seen = work / "model.partial/seen.json"
    while process.poll() is None and not (seen.exists() and seen.read_text()):
        time.sleep(0.02)
    process.terminate()
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, "goes on from the last saved step" in complaint.decode()) == (130, True)
    for pid in (json.loads(seen.read_text())["pid"], int((work / "worker").read_text())):
        for _ in range(200):
            if not alive(pid):
                break
            time.sleep(0.02)
        assert not alive(pid)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_missing_trainer_is_exit_3_and_says_where_it_lives(drag, work: Path) -> None:
    done = drag("train", "sft", "--data", "sft", "-o", "model", "--model", "base", "--no-audit", "--trainer", work / "nowhere")
    assert (done.code, done.error) == (3, None)
    assert "--trainer" in done.err
    assert "make setup" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--data", "nowhere"], 4, "no dataset_info.json"),
        (["--data", "dpo"], 4, "holds none of reranker_bc, generator_sft (it has reranker_dpo, generator_dpo)"),
        (["--data", "sft", "--role", "readr"], 2, "Known: both, generator, reranker"),
        (["--data", "sft", "--finetuning", "qlora"], 2, "lora"),
        (["--data", "sft", "--templates", "nowhere"], 4, "nowhere"),
        (["--data", "broken"], 4, "dataset_info.json"),
    ],
)
def test_wrong_calls(drag, work: Path, arguments: list[str], code: int, words: str) -> None:
    (work / "broken").mkdir()
    (work / "broken/dataset_info.json").write_text("{")
    done = drag("train", "sft", *arguments, "-o", "model", "--model", "base", "--dry-run")
    assert (done.code, done.error, done.out) == (code, None, b""), done.err
    assert words in done.err


def test_a_folder_with_other_files_is_never_deleted(work: Path, train) -> None:
    (work / "model").mkdir()
    (work / "model/thesis.tex").write_text("years of work")
    done = train("ok")
    assert (work / "model/thesis.tex").exists()
    assert done.code in (2, 4)


def test_other_settings_do_not_touch_an_unfinished_training_unless_fresh(work: Path, train) -> None:
    train("die")
    refused = train("ok", "--epochs", 7)
    assert refused.code == 2
    assert "options.epochs: 1.0 -> 7.0\n  settings.num_train_epochs: 1.0 -> 7.0\n" in refused.err
    assert (work / "model.partial/checkpoint-1").is_dir()


def test_as_many_processes_go_on_as_have_begun(work: Path, train) -> None:
    """With another number a step has other examples, and the trainer would repeat some data and pass over others."""
    train("die", "--gpus", 4)
    refused = train("ok", "--gpus", 2)
    assert (refused.code, "processes" in refused.err) == (2, True)
    done = train("ok", "--gpus", 2, "--nodes", 2)
    assert done.code == 0, done.err
    assert json.loads((work / "model/seen.json").read_text())["found"] == ["checkpoint-1"]
    assert train("oom").code == 5  # one process is another training


def test_many_processes_wait_for_the_one_that_reads_the_data(drag, work: Path) -> None:
    call = ("train", "sft", "--data", "sft", "-o", "model", "--model", "base", "--dry-run")
    alone, many = (yaml.safe_load(rendered(drag(*call, *more), work)) for more in ((), ("--gpus", 8)))
    assert "ddp_timeout" not in alone
    assert many["ddp_timeout"] > 24 * 3600
    assert (alone["preprocessing_num_workers"], many["preprocessing_num_workers"]) == (1, 16)


def test_a_missing_deepspeed_file_is_told_before_any_work(work: Path, train) -> None:
    done = train("ok", "--deepspeed", "nowhere.json")
    assert (done.code, "nowhere.json: no such file" in done.err) == (4, True)


def test_the_cause_is_that_of_this_run(train) -> None:
    assert "out of memory" in train("oom").err
    done = train("die")
    assert (done.code, "surprise" in done.err) == (5, True)
    assert "out of memory" not in done.err


def test_a_torn_line_of_the_log_does_not_fail_the_resumed_run(work: Path, train) -> None:
    assert train("tear").code == 5
    done = train("ok")
    assert done.code == 0, done.err
    assert json.loads((work / "model/manifest.json").read_text())["counts"]["steps"] == 3


def test_a_crash_before_the_manifest_does_not_block_the_next_run(work: Path, train, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("dynamicrag_cli.adapters.trainers.building.write_manifest", full_disk)
        assert train("ok").code != 0
    assert train("ok").code == 0


def full_disk(*_arguments: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_checkpoint_that_a_kill_tore_is_thrown_away(work: Path, train) -> None:
    train("die")
    (work / "model.partial/checkpoint-2").mkdir()
    assert train("ok").code == 0
    assert json.loads((work / "model/seen.json").read_text())["found"] == ["checkpoint-1"]
