"""Several processes train one policy as one process does (on the CPU, through gloo)."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dynamicrag_cli.adapters.rrpo.crew import Crew
from tests.conftest import ROOT

SCRIPT = """
import sys, torch
from dynamicrag_cli.adapters.rrpo.crew import Crew
from dynamicrag_cli.core.policy import Bounds
from tests.adapters.rrpo.test_trainer import trainer
made = trainer(Bounds(0, 2), names="abe", epochs=3.0)
made.crew = Crew(cpu=True)
made.run(lambda line: None)
made.crew.wait()
if made.crew.rank == 0:
    torch.save([made.policy.scorer.values.detach(), made.policy.stop.detach()], sys.argv[1])
"""


def test_one_process_is_a_crew() -> None:
    crew = Crew()
    assert (crew.rank, crew.size, crew.share([1, 2]), crew.gather([1])) == (0, 1, [1, 2], [1])


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = []
    for size in (1, 2):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        ranks = [
            {**environment, "WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true"}
            for rank in range(size)
        ]
        target = tmp_path / f"{size}.pt"
        started = [subprocess.Popen([sys.executable, "-c", SCRIPT, str(target)], env=rank, cwd=ROOT) for rank in ranks]
        assert [process.wait(timeout=300) for process in started] == [0] * size
        found.append(torch.load(target, weights_only=True))
    for one, two in zip(*found, strict=True):
        assert torch.allclose(one, two, atol=1e-4)
