"""Workers of a Ray cluster: order, bounds, and what dies. The cluster is the one of this process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("ray")

# In a process of its own: Ray leaves sockets open, which pytest would hold against the tests.
DRIVER = """
import json, os, signal, sys, time
from pathlib import Path
from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.adapters.ray_workers import RETRIES, RayWorkers
from dynamicrag_cli.core.errors import EngineError, InputError

home = Path(sys.argv[1])


def prepare():
    def work(records):
        (record,) = records
        if record == "dies once" and not (home / "died").exists():
            (home / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if record == "dies always":
            with (home / "deaths").open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        if record == "fails":
            raise InputError("no such model")
        if record == 0:
            time.sleep(1)
        tally.wanted += 1
        return [f"{record} done"]

    return work


def failure(record):
    try:
        list(cluster.map((prepare, Tally()), [[record]]))
    except Exception as error:
        return type(error).__name__, str(error)


taken = []


def chunks():
    for number in range(20):
        taken.append(number)
        yield [number] if number != 3 else []
    yield ["dies once"]


tally, found = Tally(), {}
with RayWorkers(2, None, 0) as cluster:
    made = cluster.map((prepare, tally), chunks())
    found["first"] = next(made)
    found["ahead"] = len(taken)
    found["rest"] = list(made)
    found["wanted"] = tally.wanted
    together = cluster.together(lambda share, of: lambda records: [(share, of, os.getpid(), record) for record in records])
    found["together"] = [together(["a", "b"]), together(["c"])]
    found["fails"] = failure("fails")
    found["dies"] = failure("dies always")
    found["deaths"] = len((home / "deaths").read_text()) - 1 == RETRIES
try:
    RayWorkers(1, None, 1e6)
except Exception as error:
    found["gpus"] = type(error).__name__
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    import json

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/")}
    home = tmp_path_factory.mktemp("ray")
    script = Path(home / "driver.py")
    script.write_text(DRIVER)
    done = subprocess.run([sys.executable, script, home], capture_output=True, text=True, check=False, cwd=home, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_results_come_in_the_order_of_the_chunks_and_few_are_taken_ahead(found: dict) -> None:
    assert found["first"] == ["0 done"]
    assert found["ahead"] <= 4
    expected = [[f"{number} done"] if number != 3 else [] for number in range(1, 20)]
    assert found["rest"] == [*expected, ["dies once done"]]
    assert found["wanted"] == 20


def test_all_workers_are_asked_together_and_each_keeps_its_share(found: dict) -> None:
    first, second = found["together"]
    assert [[answer[:2] for answer in answers] for answers in first] == [[[0, 2], [0, 2]], [[1, 2], [1, 2]]]
    assert [[answer[3] for answer in answers] for answers in first] == [["a", "b"], ["a", "b"]]
    processes = [[answer[2] for answer in answers] for answers in first]
    assert [answers[0][2] for answers in second] == [each[0] for each in processes]
    assert len({number for each in processes for number in each}) == 2


def test_an_error_of_a_worker_is_the_error_here(found: dict) -> None:
    assert found["fails"] == ["InputError", "no such model"]


def test_a_chunk_that_kills_every_worker_is_an_error_that_says_so(found: dict) -> None:
    name, words = found["dies"]
    assert name == "EngineError"
    assert "those that tried it again (up to 3 times)" in words
    assert found["deaths"]


def test_more_gpus_than_there_are(found: dict) -> None:
    assert found["gpus"] == "UsageError"
