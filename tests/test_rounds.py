"""`make all`, `make iterate` and `make rrpo`: `drag` is a stand-in that notes its calls and makes what it is to make."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.real_trainer import ROOT

DRAG = """#!/bin/sh
echo "$@" >> {folder}/calls
while [ $# -gt 0 ]; do
  case $1 in -o) output=$2 ;; esac
  shift
done
case $output in
  '') ;;
  *.json*) mkdir -p "$(dirname "$output")"; touch "$output" ;;
  *) mkdir -p "$output"; touch "$output/manifest.json" ;;
esac
"""


ROW = "infer:\n  llm: {selector: llm, model: runs/nobody-made/sft, window: 4}\n"


@pytest.fixture
def make(tmp_path: Path):
    """The calls of `drag` that a target leads to, with the run's folder left out."""
    for name in ("corpus.jsonl", "questions.jsonl"):
        (tmp_path / name).touch()
    config = tmp_path / "p.yaml"
    run = {
        "dir": tmp_path / "run",
        "corpus": tmp_path / "corpus.jsonl",
        "questions": tmp_path / "questions.jsonl",
        "rows": "sft dpo",
    }
    config.write_text("run:\n" + "".join(f"  {key}: {value}\n" for key, value in run.items()) + "  model: m\n")
    stub = tmp_path / "drag"
    stub.write_text(DRAG.format(folder=tmp_path))
    stub.chmod(0o755)

    def call(*arguments: str) -> list[str]:
        calls = tmp_path / "calls"
        calls.write_text("")
        command = [
            "make",
            "--no-print-directory",
            "-C",
            str(ROOT),
            "-o",
            ".venv/.ready",
            f"CONFIG={config}",
            f"DRAG={stub}",
            *arguments,
        ]
        environment = {**os.environ, "DRAG_TRAINER": "/elsewhere/llamafactory-cli"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return [
            line.replace(f"{tmp_path}/run/", "").replace(f" --config {config}", "") for line in calls.read_text().splitlines()
        ]

    return call


def test_all_begins_with_a_check(make) -> None:
    first, *rest = make("all")
    assert first.startswith("check ")
    assert rest[-1].startswith("eval predictions/sft.jsonl predictions/dpo.jsonl --gold ")
    assert sum(line.startswith("eval ") for line in rest) == 1


def test_a_round_goes_on_from_the_checkpoint_of_the_round_before(make) -> None:
    make("all")
    check, *calls, table = make("iterate", "ROUNDS=3")
    assert check.startswith("check ")
    assert [line.split(" --gpus")[0] for line in calls] == [
        f"{words} --model {model}" if model else words
        for number, policy in ((2, "dpo"), (3, "rounds/2/dpo"))
        for words, model in (
            (f"sample bc/dpo_pool.jsonl -o rounds/{number}/sampled.jsonl", policy),
            (f"reward rounds/{number}/sampled.jsonl -o rounds/{number}/rewarded.jsonl", None),
            (f"build-dpo rounds/{number}/rewarded.jsonl -o rounds/{number}/dpo-data", None),
            (f"train dpo --data rounds/{number}/dpo-data -o rounds/{number}/dpo", None),
            (f"infer candidates.jsonl -o rounds/{number}/predictions.jsonl --variant dpo", f"rounds/{number}/dpo"),
        )
    ]
    trained = [line for line in calls if line.startswith("train dpo")]
    assert [line.rpartition("--model ")[2] for line in trained] == ["dpo", "rounds/2/dpo"]
    assert table.startswith(
        "eval sft=predictions/sft.jsonl round-1=predictions/dpo.jsonl round-2=rounds/2/predictions.jsonl "
        "round-3=rounds/3/predictions.jsonl --gold "
    )


def test_a_finished_round_is_not_done_again(make) -> None:
    make("iterate", "ROUNDS=2")
    _, *calls, _ = make("iterate", "ROUNDS=3")
    assert len(calls) == 5
    assert all("rounds/3/" in line for line in calls)


def test_one_round_is_the_pipeline_itself(make) -> None:
    make("all")
    _, table = make("iterate", "ROUNDS=1")
    assert table.startswith("eval sft=predictions/sft.jsonl round-1=predictions/dpo.jsonl --gold ")


@pytest.mark.parametrize("reference", [True, False])
def test_small_rerankers_need_no_llm(make, tmp_path: Path, reference: bool) -> None:
    config = tmp_path / "p.yaml"
    sections = "rerank-teacher:\n  teacher: gold\ntrain:\n  reranker:\n" if reference else ""
    config.write_text(config.read_text() + f"  policies: fixed stop\n{sections}")
    check, *calls = make("rrpo")
    assert check.startswith("check ")
    of_reference = ["rerank-teacher candidates.jsonl -o labelled.jsonl", "train reranker --data labelled.jsonl -o reranker"]
    pool = "labelled.jsonl" if reference else "candidates.jsonl"
    assert sorted(line for line in calls if not line.startswith(("index ", "retrieve ", "eval "))) == sorted(
        [
            *(of_reference if reference else []),
            *(f"train rrpo --data candidates.jsonl -o rrpo-{name} --variant {name}" for name in ("fixed", "stop")),
            *(f"infer {pool} -o predictions/{row}.jsonl --variant {row}" for row in ("sft", "dpo")),
        ]
    )
    assert calls[-1].startswith("eval predictions/sft.jsonl predictions/dpo.jsonl --gold ")


def test_a_reader_that_is_not_made_yet_is_told_before_any_work(make, tmp_path: Path) -> None:
    config = tmp_path / "p.yaml"
    text = config.read_text() + "  policies: fixed\n"
    for place, other in (("  model: m\n", "  model: runs/nobody-made/sft\n"), ("policies: fixed\n", "policies: fixed\n" + ROW)):
        config.write_text(text.replace(place, other))
        with pytest.raises(AssertionError, match="runs/nobody-made/sft: no model there yet; make its pipeline first"):
            make("rrpo")
        assert (tmp_path / "calls").read_text() == ""
        assert (
            "no model"
            not in subprocess.run(
                ["make", "-n", "-C", ROOT, "rrpo", f"CONFIG={config}"], capture_output=True, text=True, check=False
            ).stderr
        )


@pytest.mark.parametrize("recipe", sorted(path.name for path in (ROOT / "pipelines").glob("rrpo*.yaml")))
def test_recipes_of_small_rerankers_end_in_a_study(recipe: str) -> None:
    content = yaml.safe_load((ROOT / "pipelines" / recipe).read_text())
    assert content["eval"]["study"] is True
    rows = {row: content["infer"][row]["selector"].partition(":")[0] for row in content["run"]["rows"].split()}
    assert {"top-k", "cross-encoder", "rrpo"} <= {*rows.values()}
    if recipe == "rrpo.yaml":
        assert {*rows.values()} == {"none", "top-k", "largest-gap", "llm", "cross-encoder", "rrpo", "gold"}
