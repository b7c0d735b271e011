"""Training through `llamafactory-cli`, a process in an environment of its own."""

import contextlib
import json
import math
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamicrag_cli.core.errors import EngineError, MissingExtraError

LOG = "train.log"
_POLL_S = 0.5
_PATIENCE_S = 30
# As the parent sees it, and as a shell or torchrun passes it on.
_SIGKILLED = (-9, 137)
_KILLED = "killed from outside, most often for want of memory: lower --batch-size or --cutoff, or use --finetuning lora or freeze"
_ADD = "the training environment lacks {0}: type make setup TRAIN_EXTRAS={0}, or install it there"
# The last lines of a failed run that say what happened, most telling first, and what to type.
_CAUSES = (
    (r"OutOfMemoryError|out of memory", "out of memory: lower --batch-size or --cutoff, or use --finetuning lora or freeze"),
    (
        r"(?i)No module named 'deepspeed'|deepspeed\S* is required|requires deepspeed|requires the .*deepspeed",
        _ADD.format("deepspeed"),
    ),
    (r"(?i)No module named 'bitsandbytes'|bitsandbytes\S* is required|requires .*bitsandbytes", _ADD.format("bitsandbytes")),
    (r"Your setup doesn't support bf16", "bfloat16 needs a GPU that has it: type --no-bf16, and --use-cpu where there is no GPU"),
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
# Ray puts the name of the worker in front of each line.
_EXAMPLE = re.compile(rb"training example:\n[^\n]*?(?:chosen_)?input_ids:\n[^\n]*?\[(\d+(?:, \d+)*)\]\n")
Progress = Callable[[int, int, str], None]
Check = Callable[[list[int] | None], None]


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


@dataclass(frozen=True)
class Machines:
    """Where a training runs.

    Attributes:
        use_cpu: On the CPU alone, one process per node.
        gpus: GPUs per node.
        nodes: Machines that train together.
        deepspeed: DeepSpeed shards the model; it needs torchrun for a single GPU too.
        ray: Ray starts the processes, not torchrun.
    """

    use_cpu: bool = False
    gpus: int = 1
    nodes: int = 1
    deepspeed: bool = False
    ray: bool = False

    @property
    def workers(self) -> int:
        """Processes in all."""
        return self.nodes * (1 if self.use_cpu else self.gpus)

    def variables(self, rank: int = 0) -> dict[str, str]:
        """What LLaMA-Factory reads from the environment on node `rank`; the first node's address is MASTER_ADDR or its name."""
        found = {"CUDA_VISIBLE_DEVICES": ""} if self.use_cpu else {}
        if self.ray:
            return {**found, "USE_RAY": "1"}
        # Without it LLaMA-Factory takes every GPU of the machine.
        found["NPROC_PER_NODE"] = str(self.workers // self.nodes)
        if self.workers > 1 or self.deepspeed:
            found["FORCE_TORCHRUN"] = "1"
        if self.nodes > 1:
            found |= {"NNODES": str(self.nodes), "NODE_RANK": str(rank)}
            found["MASTER_ADDR"] = os.environ.get("MASTER_ADDR") or socket.gethostname()
            found["MASTER_PORT"] = os.environ.get("MASTER_PORT") or "29500"
        return found


def environment(machines: Machines, program: str) -> dict[str, str]:
    """The process environment of the first node; LLaMA-Factory calls torchrun by name, so that of its own folder comes first."""
    extra = {"DISABLE_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    path = f"{Path(program).parent.resolve()}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, **extra, **machines.variables(), "PATH": path}


def commands(machines: Machines, program: str, settings: Path) -> list[str]:
    """What starts the training by hand, one line per node (with Ray one for the whole cluster)."""
    folder = Path(program).parent
    path = {"PATH": f"{folder.resolve()}:$PATH"} if folder != Path() else {}
    found = []
    for rank in range(1 if machines.ray else machines.nodes):
        variables = {"DISABLE_VERSION_CHECK": "1", **machines.variables(rank)}
        typed = [*(f'{name}="{value}"' for name, value in path.items()), *(f"{n}={shlex.quote(v)}" for n, v in variables.items())]
        found.append(" ".join([*typed, "llamafactory-cli", "train", shlex.quote(str(settings))]))
    return found


def run(
    trainer: str, arguments: list[str], folder: Path, env: dict[str, str], progress: Progress, check: Check | None = None
) -> None:
    """Run `llamafactory-cli ARGUMENTS` and report its steps; everything it prints goes to `folder/train.log`.

    Args:
        trainer: Program to run.
        arguments: Its arguments.
        folder: Output folder, whose `trainer_log.jsonl` is followed.
        env: Process environment.
        progress: Called with (step, number of steps, note) as steps end.
        check: Called once, with the token ids of the first example (of a pair, its chosen side), before the first step; with None
            if the first step has come and no example was shown. What it raises ends the process.

    Raises:
        EngineError: The process failed; the message holds its cause and the path of the log.
    """
    log = folder / LOG
    steps = folder / "trainer_log.jsonl"
    n_earlier = len(_records(steps))
    with log.open("ab") as sink:
        start = sink.tell()
        # A session of its own: torchrun's workers are in the group too, and Ctrl-C reaches them through us alone.
        process = subprocess.Popen(  # noqa: S603
            [find_cli(trainer), *arguments], stdout=sink, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
        try:
            while process.poll() is None:
                time.sleep(_POLL_S)
                if check and ((ids := _first_example(log, start)) or len(_records(steps)) > n_earlier):
                    check(ids)
                    check = None
                _follow(steps, progress)
                _refuse_nan(steps, n_earlier, log)
        except BaseException:
            _end(process)
            raise
    _follow(steps, progress)
    _refuse_nan(steps, n_earlier, log)
    if process.returncode:
        cause = _KILLED if process.returncode in _SIGKILLED else cause_of(log, start)
        raise EngineError(f"LLaMA-Factory failed (exit {process.returncode}): {cause}\nLog: {log}")


def _first_example(log: Path, start: int) -> list[int] | None:
    """The token ids that LLaMA-Factory shows of one example, once it has encoded them all; None before."""
    found = _EXAMPLE.search(log.read_bytes(), start)
    return [int(number) for number in found[1].split(b",")] if found else None


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


def _refuse_nan(steps: Path, n_earlier: int, log: Path) -> None:
    """Stop a run whose loss is no number any more; every further step would be lost."""
    for record in _records(steps)[n_earlier:]:
        loss = record.get("loss")
        if isinstance(loss, float) and not math.isfinite(loss):
            step = record.get("current_steps")
            raise EngineError(f"the loss became {loss} at step {step}; lower --learning-rate and start with --fresh\nLog: {log}")


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
