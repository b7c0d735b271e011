"""One worker per GPU, as `make` runs it, on a stage that needs no model."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIPELINE = """
run:
  dir: {folder}
  corpus: {root}/examples/toy/passages.jsonl
  questions: {folder}/questions.jsonl
  rows: none
index: {{retriever: bm25}}
retrieve: {{top-k: 3}}
rerank-teacher: {{teacher: {teacher}, max-reject-rate: {rate}}}
"""


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The environment is there, whatever its date.
    command = [
        "make",
        "--no-print-directory",
        "-C",
        str(ROOT),
        "-o",
        ".venv/.ready",
        f"CONFIG={folder}/p.yaml",
        f"DRAG={sys.executable} -m dynamicrag_cli",
        *arguments,
    ]
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the candidates of 20 questions, before the first stage that workers share."""
    folder = tmp_path_factory.mktemp("run")
    with (ROOT / "examples/toy/questions.jsonl").open() as lines:
        (folder / "questions.jsonl").write_text("".join(line for line, _ in zip(lines, range(20), strict=False)))
    write_pipeline(folder, "answer-match")
    done = make(folder, "retrieve")
    assert done.returncode == 0, done.stderr
    return folder


def write_pipeline(folder: Path, teacher: str, rate: float = 1) -> None:
    (folder / "p.yaml").write_text(PIPELINE.format(folder=folder, root=ROOT, teacher=teacher, rate=rate))


def test_two_workers_make_what_one_makes(candidates: Path) -> None:
    labelled = candidates / "labelled.jsonl"
    one = make(candidates, "rerank-teacher")
    assert one.returncode == 0, one.stderr
    whole = labelled.read_bytes()
    labelled.unlink()
    two = make(candidates, "rerank-teacher", "GPUS=2")
    assert two.returncode == 0, two.stderr
    assert labelled.read_bytes() == whole
    parts = [path.read_bytes().splitlines() for path in sorted((candidates / "shards/labelled").glob("?-of-2.jsonl"))]
    assert [bool(part) for part in parts] == [True, True]
    assert sorted(parts[0] + parts[1]) == sorted(whole.splitlines())
    assert json.loads((candidates / "labelled.jsonl.manifest.json").read_text())["parts"] == 2


def test_what_may_be_rejected_is_a_share_of_the_whole(candidates: Path, tmp_path: Path) -> None:
    """3 of 20 are, 15 %: of the shards 2 of 11 and 1 of 9."""
    shutil.copytree(candidates, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("labelled*", "shards"))
    first, *rest = (tmp_path / "candidates.jsonl").read_text().splitlines()
    (tmp_path / "candidates.jsonl").write_text("\n".join([first[:-9], *rest]) + "\n")
    for rate, code in ((0.16, 0), (0.14, 2)):
        write_pipeline(tmp_path, "answer-match", rate)
        done = make(tmp_path, "rerank-teacher", "GPUS=2")
        assert done.returncode == code, done.stderr
        assert (tmp_path / "labelled.jsonl").exists()


def test_a_worker_that_fails_leaves_no_output_and_says_which_it_is(candidates: Path, tmp_path: Path) -> None:
    shutil.copytree(candidates, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("labelled*", "shards"))
    write_pipeline(tmp_path, "bi-encoder")  # which needs a model
    done = make(tmp_path, "rerank-teacher", "GPUS=2", "FRESH=1")
    assert done.returncode != 0
    assert re.search(r"^\[1\] .*--model", done.stderr, re.MULTILINE)
    assert re.search(r"^\[2\] .*--model", done.stderr, re.MULTILINE)
    assert not (tmp_path / "labelled.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("GPUS=3",), [("0", "1/3"), ("1", "2/3"), ("2", "3/3")]),
        (("GPUS=4", "WORKERS=2"), [("0,1", "1/2"), ("2,3", "2/2")]),
        (("GPUS=2", "CUDA_VISIBLE_DEVICES=5,7"), [("5", "1/2"), ("7", "2/2")]),
        (("GPUS=4", "WORKERS=1"), []),
    ],
)
def test_workers_share_the_gpus(candidates: Path, arguments: tuple[str, ...], expected: list[tuple[str, str]]) -> None:
    printed = make(candidates, "-n", "-W", str(candidates / "candidates.jsonl"), "rerank-teacher", *arguments).stdout
    assert "rerank-teacher" in printed
    assert re.findall(r"CUDA_VISIBLE_DEVICES=(\S+) .*?--shard (\S+)", printed) == expected


def test_more_workers_than_gpus_are_refused(candidates: Path) -> None:
    done = make(
        candidates, "-n", "-W", str(candidates / "candidates.jsonl"), "rerank-teacher", "GPUS=2", "CUDA_VISIBLE_DEVICES=5"
    )
    assert "WORKERS=2, but the GPUs are 5" in done.stderr


@pytest.mark.parametrize("value", ["{folder}", '"{folder}"', "'{folder}'  # where it all goes"])
def test_values_of_the_run_section_may_stand_in_quotes_and_before_a_comment(tmp_path: Path, value: str) -> None:
    text = PIPELINE.format(folder=tmp_path, root=ROOT, teacher="gold", rate=1)
    (tmp_path / "p.yaml").write_text(text.replace(f"dir: {tmp_path}", "dir: " + value.format(folder=tmp_path)))
    assert make(tmp_path, "-n", "clean").stdout.split() == ["rm", "-rf", str(tmp_path)]


@pytest.mark.parametrize("run", ["run: {dir: runs/x}", "run:\n    dir: runs/x", "run:\n  dir: my runs/x", ""])
def test_a_run_section_that_make_cannot_read_ends_it_before_anything_is_done(tmp_path: Path, run: str) -> None:
    (tmp_path / "p.yaml").write_text(run)
    done = make(tmp_path, "clean")
    assert (done.returncode, done.stdout) == (2, "")
    assert "run.dir must stand on a line of its own" in done.stderr
    (tmp_path / "p.yaml").unlink()
    assert "no such pipeline file" in make(tmp_path, "clean").stderr
