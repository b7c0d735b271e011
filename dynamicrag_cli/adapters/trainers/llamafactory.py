"""Training through `llamafactory-cli`, a process in an environment of its own."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dynamicrag_cli.core.errors import EngineError, MissingExtraError

LOG = "train.log"
_POLL_S = 0.5
# The last lines of a failed run that say what happened, most telling first, and what to type.
_CAUSES = (
    (r"OutOfMemoryError|out of memory", "out of memory: lower --batch-size or --cutoff, or use --finetuning lora or freeze"),
    (r"Template .* does not exist", "LLaMA-Factory has no such chat template: see --template"),
    (
        r"Undefined dataset|Cannot find valid samples",
        "the data folder holds no usable examples: look at dataset_info.json and --cutoff",
    ),
    (
        r"Repo id must|Can't load|not a local folder|does not appear to have a file named",
        "the model cannot be loaded: see --model",
    ),
)
Progress = Callable[[int, int, str], None]


def find_cli(trainer: str) -> str:
    """The path of `llamafactory-cli`.

    Raises:
        MissingExtraError: There is no such program.
    """
    found = shutil.which(trainer)
    if found is None:
        cause = FileNotFoundError(
            f"no program {trainer!r}; LLaMA-Factory lives in an environment of its own: type 'make setup', "
            "or install it elsewhere and point --trainer (DRAG_TRAINER) at its llamafactory-cli"
        )
        raise MissingExtraError("training", "train", cause)
    return found


def environment(use_cpu: bool, gpus: int) -> dict[str, str]:
    """The process environment: the CPU alone if asked for, torchrun where there are several GPUs."""
    extra = {"DISABLE_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    if use_cpu:
        extra["CUDA_VISIBLE_DEVICES"] = ""
    elif gpus > 1:
        extra |= {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": str(gpus)}
    return {**os.environ, **extra}


def run(trainer: str, arguments: list[str], folder: Path, env: dict[str, str], progress: Progress) -> None:
    """Run `llamafactory-cli ARGUMENTS` and report its steps; everything it prints goes to `folder/train.log`.

    Args:
        trainer: Program to run.
        arguments: Its arguments.
        folder: Output folder, whose `trainer_log.jsonl` is followed.
        env: Process environment.
        progress: Called with (step, number of steps, note) as steps end.

    Raises:
        EngineError: The process failed; the message holds its cause and the path of the log.
    """
    log = folder / LOG
    steps = folder / "trainer_log.jsonl"
    with log.open("ab") as sink:
        process = subprocess.Popen([find_cli(trainer), *arguments], stdout=sink, stderr=subprocess.STDOUT, env=env)  # noqa: S603
        try:
            while process.poll() is None:
                time.sleep(_POLL_S)
                _follow(steps, progress)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    _follow(steps, progress)
    if process.returncode:
        raise EngineError(f"LLaMA-Factory failed (exit {process.returncode}): {cause_of(log)}\nLog: {log}")
    losses = [loss for loss in _losses(steps) if loss is not None]
    if losses and losses[-1] != losses[-1]:
        raise EngineError(f"the loss became NaN; lower --learning-rate\nLog: {log}")


def _follow(steps: Path, progress: Progress) -> None:
    last = _last_record(steps)
    if last:
        note = " ".join(f"{name} {last[name]:.3f}" for name in ("loss", "accuracy") if isinstance(last.get(name), float))
        progress(int(last.get("current_steps", 0)), int(last.get("total_steps", 0)), note)


def _last_record(steps: Path) -> dict[str, Any]:
    try:
        lines = steps.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in reversed(lines[-3:]):
        try:
            return dict(json.loads(line))
        except ValueError:
            continue  # the trainer may be in the midst of writing its last line
    return {}


def _losses(steps: Path) -> list[float | None]:
    try:
        return [json.loads(line).get("loss") for line in steps.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError):
        return []


def cause_of(log: Path) -> str:
    """One readable line on why a run failed, from its log."""
    text = log.read_text(encoding="utf-8", errors="replace")[-20000:]
    errors = [line.strip() for line in text.splitlines() if re.match(r"\s*[\w.]*(Error|Exception|Interrupt)\b.*", line)]
    last = errors[-1][:300] if errors else "see the log"
    for pattern, advice in _CAUSES:
        if re.search(pattern, text):
            return f"{advice} ({last})"
    return last
