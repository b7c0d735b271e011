"""`drag plan`: a table for people, a document for programs, and no torch."""

import json
import subprocess
import sys

import pytest

from dynamicrag_cli.adapters import machine
from dynamicrag_cli.core.presets import PRESETS
from tests.conftest import ROOT

SMALL = ("--calibrate", 700, "--dimension", 16)


def test_a_plan(drag) -> None:
    done = drag(
        "plan", "21M", "--dimension", 16, "--calibrate", 700, "--ram", 2.7, "--gpu-memory", 1, "--encode-rate", 1000, "--json"
    )
    assert (done.code, done.error) == (0, None), done.err
    document = json.loads(done.out)
    found = {row["preset"]: row for row in document["presets"]}
    assert [*found] == [*PRESETS]
    assert (document["passages"], document["ram"], document["encode_s"]) == (21_000_000, 2.7e9, 21_000)
    assert found["flat"]["index_bytes"] == 4 * 16 * 21_000_000
    assert [name for name, row in found.items() if row["fits_ram"]] == ["fp16", "sq8", "ivf", "ivfpq", "scan"]
    assert "hnsw" in done.err
    assert "5.8 h" in done.err
    assert f"recommended: --preset {document['recommended']}" in done.err
    assert document["recommended"] in {"fp16", "sq8", "ivf", "ivfpq"}


def test_memory_is_this_machines_unless_told(drag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: (5 * 10**9, 10**9))
    monkeypatch.setattr(machine, "gpu_memory", lambda: 3 * 10**9)
    document = json.loads(drag("plan", "45k", *SMALL, "--json").out)
    assert (document["ram"], document["gpu_memory"]) == (5e9, 3e9)


def test_wrong_calls(drag) -> None:
    for arguments in (["many"], [], ["45k", "--dimension", "0"]):
        assert drag("plan", *arguments).code == 2


def test_it_does_not_import_torch() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['drag', 'plan', '45k', '--calibrate', '256', '--dimension', '16']\n"
        "from dynamicrag_cli.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'faiss' in sys.modules\nassert not {'torch', 'transformers'} & {*sys.modules}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
