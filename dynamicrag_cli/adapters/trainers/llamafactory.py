"""Training through `llamafactory-cli`, a process in an environment of its own."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dynamicrag_cli.core.errors import EngineError, MissingExtraError

LOG = "train.log"
_POLL_S = 0.5
_PATIENCE_S = 30
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
    else:
        # Without it LLaMA-Factory takes every GPU of the machine.
        extra["NPROC_PER_NODE"] = str(gpus)
        if gpus > 1:
            extra["FORCE_TORCHRUN"] = "1"
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
        start = sink.tell()
        # A session of its own: torchrun's workers are in the group too, and Ctrl-C reaches them through us alone.
        process = subprocess.Popen(  # noqa: S603
            [find_cli(trainer), *arguments], stdout=sink, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
        try:
            while process.poll() is None:
                time.sleep(_POLL_S)
                _follow(steps, progress)
        except BaseException:
            _end(process)
            raise
    _follow(steps, progress)
    if process.returncode:
        raise EngineError(f"LLaMA-Factory failed (exit {process.returncode}): {cause_of(log, start)}\nLog: {log}")
    curve = loss_curve(folder)
    if curve and curve[-1][1] != curve[-1][1]:
        raise EngineError(f"the loss became NaN; lower --learning-rate\nLog: {log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the trainer with all its workers: asked first, then, or at a second Ctrl-C, by force."""
    try:
        _signal_group(process, signal.SIGTERM)
        process.wait(_PATIENCE_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def loss_curve(folder: Path) -> list[tuple[int, float]]:
    """(step, loss) of every logged step; a line that an earlier kill has torn is passed over."""
    curve: dict[int, float] = {}
    for record in _records(folder / "trainer_log.jsonl"):
        if isinstance(record.get("loss"), float) and isinstance(record.get("current_steps"), int):
            curve[record["current_steps"]] = record["loss"]
    return sorted(curve.items())


def _follow(steps: Path, progress: Progress) -> None:
    records = _records(steps)
    if records:
        last = records[-1]
        note = " ".join(f"{name} {last[name]:.3f}" for name in ("loss", "accuracy") if isinstance(last.get(name), float))
        progress(int(last.get("current_steps", 0)), int(last.get("total_steps", 0)), note)


def _records(steps: Path) -> list[dict[str, Any]]:
    """The whole lines of LLaMA-Factory's step log; it may be in the midst of writing one."""
    found = []
    for line in steps.read_text(encoding="utf-8", errors="replace").splitlines() if steps.exists() else ():
        try:
            found.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def cause_of(log: Path, start: int = 0) -> str:
    """One readable line on why a run failed, from what it logged after byte `start`."""
    text = log.read_bytes()[start:].decode("utf-8", "replace")[-20000:]
    errors = [line.strip() for line in text.splitlines() if re.match(r"\s*[\w.]*(Error|Exception|Interrupt)\b.*", line)]
    last = errors[-1][:300] if errors else "see the log"
    for pattern, advice in _CAUSES:
        if re.search(pattern, text):
            return f"{advice} ({last})"
    return last
