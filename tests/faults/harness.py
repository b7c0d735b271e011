"""Kill record stages at random moments until they are done, and compare with what an undisturbed run makes.

    python -m tests.faults.harness --kills 200 --seed 7

A stage runs as a real process. It is killed with SIGKILL after a random time, its journal may lose a random part of its last
bytes (as after a power cut), or it may hit a limit on file size (as on a full disk); then the same command is started again, until
it ends by itself. Its output must be that of the undisturbed run, byte for byte.
"""

import argparse
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dynamicrag_cli.cli.console import progress
from tests.samples import SELECT, labelled, question, sampled, script, write

ROOT = Path(__file__).parents[2]
DRAG = (sys.executable, "-m", "dynamicrag_cli")
RECORDS = 240
BROKEN = '{"id": "broken", "question": '


@dataclass(frozen=True)
class Case:
    """One stage: its arguments with places for the input, the output and the folder of the fixtures."""

    name: str
    arguments: tuple[str, ...]
    folder_output: bool = False


CASES = (
    Case("retrieve", ("retrieve", "{in}/questions.jsonl", "--index", "{in}/bm25", "--top-k", "5")),
    Case("rerank-teacher", ("rerank-teacher", "{in}/candidates.jsonl", "--teacher", "answer-match")),
    Case("build-bc", ("build-bc", "{in}/labelled.jsonl", "--copies", "3"), folder_output=True),
    Case("sample", ("sample", "{in}/candidates.jsonl", "--engine", "fake", "--model", "{in}/script.json", "--rollouts", "4")),
    Case("reward", ("reward", "{in}/sampled.jsonl", "--weights", "em=0.5 rouge=0.3 length=0.2")),
    Case("build-dpo", ("build-dpo", "{in}/rewarded.jsonl"), folder_output=True),
    Case("infer", ("infer", "{in}/candidates.jsonl", "--engine", "fake", "--model", "{in}/script.json")),
)


@dataclass
class Toll:
    """What one case went through."""

    kills: int = 0
    tears: int = 0
    full_disks: int = 0
    starts: int = 0
    resumed: int = 0
    differences: list[str] = field(default_factory=list)


def make_inputs(folder: Path) -> None:
    """Inputs of all cases, with broken lines in their midst."""
    folder.mkdir(parents=True)
    kinds = {"candidates": question, "labelled": labelled, "sampled": sampled}
    for name, make in kinds.items():
        _write_with_broken(folder / f"{name}.jsonl", (make(number) for number in range(RECORDS)))
    plain = ({key: value for key, value in question(number).items() if key != "docs"} for number in range(RECORDS))
    _write_with_broken(folder / "questions.jsonl", plain)
    script(folder / "script.json", "Vienna", **{SELECT: ["[2]", "[2], [1]", "None", "nonsense"]})
    _check(["index", str(ROOT / "examples/toy/passages.jsonl"), "-o", str(folder / "bm25")])
    rewarded = ["reward", str(folder / "sampled.jsonl"), "-o", str(folder / "rewarded.jsonl"), "--weights", "em=1"]
    _check([*rewarded, "--max-reject-rate", "1"])


def _write_with_broken(path: Path, records: Iterator[dict[str, object]]) -> None:
    write(path, records)
    lines = path.read_text(encoding="utf-8").splitlines()
    for place in (3, len(lines) // 2):
        lines.insert(place, BROKEN)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _check(arguments: list[str]) -> None:
    subprocess.run([*DRAG, *arguments], check=True, capture_output=True, cwd=ROOT)


def command_of(case: Case, inputs: Path, output: Path) -> list[str]:
    """The command line of a case; a chunk of one record, so that there are many places to be killed at."""
    arguments = [argument.replace("{in}", str(inputs)) for argument in case.arguments]
    return [*DRAG, *arguments, "-o", str(output), "--chunk", "1", "--max-reject-rate", "1"]


def outputs(output: Path) -> dict[str, bytes]:
    """What a finished run has left, but for manifests, which hold times."""
    paths = output.rglob("*") if output.is_dir() else output.parent.glob(f"{output.name.removesuffix('.jsonl')}*")
    found = [path for path in paths if path.is_file() and "manifest" not in path.name]
    return {path.name.replace(output.stem, "out", 1): path.read_bytes() for path in found}


def torment(case: Case, inputs: Path, folder: Path, dice: random.Random, kills: int) -> Toll:
    """Run a case to its end under faults, as often as it takes to have killed it `kills` times."""
    toll = Toll()
    name = "run" if case.folder_output else "run.jsonl"
    (folder / "calm").mkdir(parents=True)
    calm = folder / "calm" / name
    began = time.monotonic()
    subprocess.run(command_of(case, inputs, calm), check=True, capture_output=True, cwd=ROOT)
    seconds = time.monotonic() - began
    wanted = outputs(calm)
    round_number = 0
    while toll.kills < kills:
        round_number += 1
        home = folder / f"round{round_number}"
        home.mkdir()
        _one_round(command_of(case, inputs, home / name), home / name, seconds, dice, kills - toll.kills, toll)
        found = outputs(home / name)
        if found != wanted:
            different = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
            toll.differences.append(f"{case.name}, round {round_number}: {', '.join(different)}")
    return toll


def _one_round(command: list[str], output: Path, seconds: float, dice: random.Random, kills: int, toll: Toll) -> None:
    partial = output.with_name(output.name + ".partial")
    left = min(kills, dice.randint(2, 6))
    while True:
        disk_full = left > 0 and dice.random() < 0.1
        size = partial.stat().st_size if partial.exists() else 0
        limit = size + dice.randint(1, 20_000) if disk_full else None
        if size:
            toll.resumed += 1
        toll.starts += 1
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)
        if limit:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        killed = left > 0 and not disk_full and _kill_some_time(process, partial, seconds, dice)
        _, complaint = process.communicate()
        if killed:
            left -= 1
            toll.kills += 1
            toll.tears += _tear(partial, dice)
        elif process.returncode == 0:
            return
        elif disk_full and process.returncode == 4:
            toll.full_disks += 1
        else:
            raise AssertionError(f"{' '.join(command)}\nended with {process.returncode}:\n{complaint.decode()}")


def _kill_some_time(process: subprocess.Popen[bytes], partial: Path, seconds: float, dice: random.Random) -> bool:
    """Kill a process at a random moment, half the time counted from its first written byte; False if it was faster."""
    if dice.random() < 0.5:
        while process.poll() is None and not partial.exists():
            time.sleep(0.002)
        wait = dice.random() * seconds * 0.5
    else:
        wait = dice.random() * seconds
    try:
        process.wait(wait)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        return True
    return False


def _tear(partial: Path, dice: random.Random) -> bool:
    """Cut some of the last bytes of the journal, now and then."""
    if dice.random() < 0.6 or not partial.exists() or not partial.stat().st_size:
        return False
    size = partial.stat().st_size
    with partial.open("r+b") as file:
        file.truncate(max(size - dice.randint(1, 3000), 0))
    return True


def run(kills: int, seed: int, names: tuple[str, ...] = ()) -> dict[str, Toll]:
    """All cases (or those named), with `kills` shared out among them."""
    cases = [case for case in CASES if not names or case.name in names]
    tolls = {}
    with tempfile.TemporaryDirectory() as temporary, progress("faults", kills) as bar:
        home = Path(temporary)
        make_inputs(home / "in")
        for number, case in enumerate(cases):
            share = kills * (number + 1) // len(cases) - kills * number // len(cases)
            tolls[case.name] = torment(case, home / "in", home / case.name, random.Random(f"{seed} {case.name}"), share)
            bar.advance(share)
    return tolls


def main() -> None:
    """Torment all stages and print what they went through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=date.today().toordinal(), help="default: another one each day")
    parser.add_argument("stages", nargs="*", help="only these")
    options = parser.parse_args()
    tolls = run(options.kills, options.seed, tuple(options.stages))
    table = Table(title=f"seed {options.seed}")
    for heading in ("stage", "kills", "torn tails", "full disks", "starts", "resumed", "different outputs"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    rows = [(n, t.kills, t.tears, t.full_disks, t.starts, t.resumed, len(t.differences)) for n, t in tolls.items()]
    for row in [*rows, ("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))]:
        table.add_row(*map(str, row))
    Console().print(table)
    for line in (line for toll in tolls.values() for line in toll.differences):
        sys.stderr.write(line + "\n")
    sys.exit(any(toll.differences for toll in tolls.values()))


if __name__ == "__main__":
    main()
