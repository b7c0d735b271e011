"""A stand-in for llamafactory-cli: reads the settings, does as FAKE_TRAINER says, leaves what the real one leaves.

FAKE_TRAINER is one of `ok`, `die` (after a checkpoint), `oom`, `template`, `nan`, `killed`, `hang`, `tear` (die in a log line),
`unmerged` (adapters are trained, but merging them fails). As the real one does, it goes on from a checkpoint, and refuses a folder
that holds weights and no checkpoint.
"""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

LOSSES = (2.5, 1.5, 0.5)
WEIGHTS = ("model.safetensors", "adapter.bin")


def setting(text: str, name: str) -> str:
    return re.search(rf"^{name}: (.*)$", text, re.MULTILINE).group(1).strip('"')


def log(folder: Path, step: int, loss: object) -> None:
    with (folder / "trainer_log.jsonl").open("a") as file:
        file.write(json.dumps({"current_steps": step, "total_steps": len(LOSSES), "loss": loss}) + "\n")


def train(text: str, act: str) -> None:
    folder = Path(setting(text, "output_dir"))
    folder.mkdir(exist_ok=True)
    found = sorted(path.name for path in folder.glob("checkpoint-*"))
    (folder / "seen.json").write_text(json.dumps({"found": found, "gpus": os.environ.get("NPROC_PER_NODE"), "pid": os.getpid()}))
    print("loading", setting(text, "model_name_or_path"))
    if not found and any((folder / name).exists() for name in WEIGHTS):
        sys.exit("ValueError: Output directory already exists and is not empty. Please set `overwrite_output_dir`.")
    if act == "oom":
        sys.exit("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.")
    if act == "template":
        sys.exit("ValueError: Template llama9 does not exist.")
    log(folder, 1, LOSSES[0])
    if act == "hang":
        time.sleep(60)
    if act == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if act in ("die", "tear"):
        (folder / "checkpoint-1").mkdir()
        (folder / "checkpoint-1/trainer_state.json").write_text("{}")
        if act == "tear":
            with (folder / "trainer_log.jsonl").open("a") as file:
                file.write('{"current_steps": 2, "lo')
        sys.exit("KeyError: 'surprise'")
    for step in (2, 3):
        log(folder, step, float("nan") if act == "nan" else LOSSES[step - 1])
    if setting(text, "save_strategy") == "steps":
        (folder / "checkpoint-3").mkdir(exist_ok=True)
    (folder / ("adapter.bin" if "finetuning_type: lora" in text else "model.safetensors")).write_text("weights")


def export(text: str) -> None:
    folder = Path(
        json.loads(setting(text, "export_dir")) if setting(text, "export_dir").startswith('"') else setting(text, "export_dir")
    )
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(
        "merged " + (Path(setting(text, "adapter_name_or_path")) / "adapter.bin").read_text()
    )


if __name__ == "__main__":
    settings = Path(sys.argv[2]).read_text()
    if sys.argv[1] == "export":
        if os.environ.get("FAKE_TRAINER") == "unmerged":
            sys.exit("OSError: disk full")
        export(settings)
    else:
        train(settings, os.environ.get("FAKE_TRAINER", "ok"))
