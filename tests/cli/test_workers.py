"""`--runner`: what the local runner writes, whoever does the work. Ray runs as a small cluster of its own, beside the tests."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.cli.workers import workers
from tests.conftest import ROOT
from tests.faults.harness import outputs
from tests.samples import SELECT, question, read, script, write

TOY = ROOT / "examples/toy"
# `drag` with shards of 100 vectors, and 60 passages encoded at a time; with a number in front, killed behind so many shards.
SMALL_SHARDS = """
import sys
from dynamicrag_cli.adapters.retrievers import dense, vectors
from dynamicrag_cli.cli.main import main

left, add = int(sys.argv.pop(1)), vectors.ShardWriter.add
dense._CHUNK, vectors.ROWS = 60, 100


def add_some(self, rows):
    add(self, rows)
    if len(self.shards) == left:
        raise KeyboardInterrupt


vectors.ShardWriter.add = add_some
main()
"""
CLUSTER = "import ray; print(ray.init(num_cpus=4, include_dashboard=False).address_info['gcs_address'], flush=True); input()"
# The cluster of these tests has a token of its own, which those who connect must know.
ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster with room for several drivers; all of it ends with the test."""
    pytest.importorskip("ray")
    call = (sys.executable, "-c", CLUSTER)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(call, **pipes, cwd=ROOT, env=ENVIRONMENT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
        process.stdin.close()


def command(source: Path, output: Path, fake: Path, *more: object) -> list[str]:
    arguments = ("sample", source, "-o", output, "--engine", "fake", "--model", fake, "--rollouts", 2, "--chunk", 1, *more)
    return [sys.executable, "-m", "dynamicrag_cli", *map(str, arguments), "--max-reject-rate", "1"]


def run(*call: str) -> str:
    done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return done.stderr


def prepared(source: Path, records: int) -> Path:
    """Questions, among them one that the engine cannot serve and a broken line; returns the engine's script."""
    write(source, (question(number, **({"question": "BAD?"} if number == 5 else {})) for number in range(records)))
    lines = source.read_text(encoding="utf-8").splitlines()
    source.write_text("\n".join([*lines[:7], '{"id": "broken"', *lines[7:]]) + "\n", encoding="utf-8")
    return script(source.with_name("fake.json"), "Vienna", BAD={"error": "boom"}, **{SELECT: ["[2]", "[2], [1]"]})


def test_ray_writes_what_the_local_runner_writes(cluster: str, tmp_path: Path) -> None:
    fake = prepared(tmp_path / "in.jsonl", 23)
    ray = ("--runner", "ray", "--workers", 3, "--ray-address", cluster)
    for name, more in {"here": (), "there": ray}.items():
        (tmp_path / name).mkdir()
        cache = ("--cache", tmp_path / name / "replies.db")
        told = run(*command(tmp_path / "in.jsonl", tmp_path / name / "run.jsonl", fake, *more, *cache))
        assert "2 rejected" in told
        (tmp_path / name / "replies.db").unlink()
    assert outputs(tmp_path / "there/run.jsonl") == outputs(tmp_path / "here/run.jsonl")
    here, there = (json.loads((tmp_path / name / "run.jsonl.manifest.json").read_text()) for name in ("here", "there"))
    # Who works is no part of the fingerprint, and what the workers counted arrives.
    assert there["fingerprint"] == here["fingerprint"]
    assert there["notes"] == here["notes"]
    wanted = [made["counts"]["cache_hits"] + made["counts"]["cache_misses"] for made in (here, there)]
    assert wanted[0] == wanted[1] > 0


def test_a_killed_driver_is_finished_by_the_same_command(cluster: str, tmp_path: Path) -> None:
    fake = prepared(tmp_path / "in.jsonl", 2000)
    output = tmp_path / "there" / "run.jsonl"
    call = command(tmp_path / "in.jsonl", output, fake, "--runner", "ray", "--ray-address", cluster)
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env=ENVIRONMENT)
    partial = output.with_name(output.name + ".partial")
    while process.poll() is None and not (partial.exists() and partial.read_bytes().count(b"\n") > 20):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = partial.read_bytes().count(b"\n") - 1
    assert 0 < kept < 2000
    assert "going on after" in run(*call)
    (tmp_path / "here").mkdir()
    run(*command(tmp_path / "in.jsonl", tmp_path / "here" / "run.jsonl", fake))
    assert outputs(output) == outputs(tmp_path / "here" / "run.jsonl")


def small(left: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", SMALL_SHARDS, str(left), *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT, env=ENVIRONMENT)


@pytest.mark.slow
def test_ray_encodes_the_same_shards_and_searches_them_as_one(cluster: str, tiny_encoder: Path, tmp_path: Path) -> None:
    ray = ("--runner", "ray", "--workers", 3, "--ray-address", cluster, "--device", "cpu")
    build = ("index", TOY / "passages.jsonl", "--retriever", "dense", "--model", tiny_encoder, "-o")
    assert small(0, *build, tmp_path / "here", "--device", "cpu").returncode == 0
    interrupted = small(2, *build, tmp_path / "there", *ray)
    assert (interrupted.returncode, (tmp_path / "there").exists()) == (130, False), interrupted.stderr
    assert len([*(tmp_path / "there.partial/vectors").glob("*.npy")]) == 2
    done = small(0, *build, tmp_path / "there", *ray)
    assert done.returncode == 0, done.stderr
    assert "going on with what an interrupted run has left" in done.stderr
    files = sorted(path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*") if path.is_file())
    assert sum(file.suffix == ".npy" for file in files) == 4
    for file in files:
        if file.name != "manifest.json":
            assert (tmp_path / "there" / file).read_bytes() == (tmp_path / "here" / file).read_bytes(), file
    search = ("retrieve", TOY / "questions.jsonl", "--limit", 40, "--chunk", 16, "--index", tmp_path / "there", "--scan", "-o")
    (tmp_path / "found").mkdir()
    for name, more in {"here": (), "there": ray}.items():
        done = small(0, *search, tmp_path / f"found/{name}.jsonl", *more)
        assert done.returncode == 0, done.stderr
        assert ("divided among the workers" in done.stderr) == (name == "there")
    assert read(tmp_path / "found/there.jsonl") == read(tmp_path / "found/here.jsonl")


@pytest.mark.slow
def test_teachers_on_ray_are_fitted_like_one_here(cluster: str, tiny_encoder: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", (question(number) for number in range(12)))
    teach = ("rerank-teacher", source, "--teacher", "bi-encoder", "--model", tiny_encoder, "--chunk", 2, "--device", "cpu", "-o")
    for name, more in {"here": (), "there": ("--runner", "ray", "--ray-address", cluster)}.items():
        (tmp_path / name).mkdir()
        run(sys.executable, "-m", "dynamicrag_cli", *map(str, (*teach, tmp_path / name / "out.jsonl", *more)))
    assert outputs(tmp_path / "there/out.jsonl") == outputs(tmp_path / "here/out.jsonl")
    fits = [json.loads((tmp_path / name / "out.jsonl.manifest.json").read_text())["calibration"] for name in ("here", "there")]
    assert fits[0] == fits[1]


@pytest.mark.skipif("RAY_ADDRESS" in os.environ, reason="a cluster of the person who runs the tests")
def test_no_cluster_at_the_address(drag, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from dynamicrag_cli.adapters import ray_workers

    def refuse(**_settings: object) -> None:
        raise ConnectionError("nobody there")

    source, fake = tmp_path / "in.jsonl", prepared(tmp_path / "in.jsonl", 9)
    call = ("sample", source, "-o", tmp_path / "o.jsonl", "--engine", "fake", "--model", fake, "--runner", "ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_workers.ray, "init", refuse)
        done = drag(*call, "--ray-address", "127.0.0.1:1")
    assert (done.code, "no Ray cluster at 127.0.0.1:1: nobody there" in done.err) == (5, True), done.err


def test_here_models_are_loaded_once_and_only_for_records(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    loaded = []

    def prepare():
        loaded.append(1)
        return lambda records: [record * 2 for record in records]

    with workers(SimpleNamespace(params={}), prepare, Tally()) as apply:
        assert list(apply([[]])) == [()]
        assert not loaded
        assert list(apply([[1], [], [2, 3]])) == [[2], (), [4, 6]]
    assert len(loaded) == 1


class Elsewhere:
    """Workers that know only what can be sent to another process."""

    def __init__(self, *_options: object) -> None:
        pass

    def __enter__(self) -> "Elsewhere":
        return self

    def __exit__(self, *_details: object) -> None:
        pass

    def map(self, work, chunks):
        from ray import cloudpickle

        sent = cloudpickle.dumps(work)
        assert b"Context" not in sent
        prepare, _ = cloudpickle.loads(sent)
        return map(prepare(), chunks)


@pytest.mark.parametrize("name", ["sample", "infer", "retrieve", "expanded", "teacher"])
def test_the_work_of_every_command_can_be_sent(
    drag, toy_bm25: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr("dynamicrag_cli.adapters.ray_workers.RayWorkers", Elsewhere)
    fake = prepared(tmp_path / "in.jsonl", 9)
    engine = ("--engine", "fake", "--model", fake, "--cache", tmp_path / "replies.db")
    call = {
        "sample": ("sample", *engine),
        "infer": ("infer", *engine),
        "retrieve": ("retrieve", "--index", toy_bm25),
        "teacher": ("rerank-teacher", "--teacher", "listwise", *engine),
        "expanded": ("retrieve", "--index", toy_bm25, "--expand", "query2doc", *engine),
    }[name]
    written = {}
    for runner in ("local", "ray"):
        output = tmp_path / runner / "out.jsonl"
        done = drag(call[0], tmp_path / "in.jsonl", "-o", output, *call[1:], "--max-reject-rate", 1, "--runner", runner)
        assert done.code == 0, done.err
        written[runner] = outputs(output)
    assert written["ray"] == written["local"]
