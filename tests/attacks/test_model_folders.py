"""Model folders that bring code: it does not run, unless a hub's model was pinned to a commit and trusted by name."""

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.encoder import load_encoder
from dynamicrag_cli.adapters.engines.hf import HfEngine
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.adapters.engines.tokens import control_tokens
from dynamicrag_cli.core.errors import InputError

SHA = "0123456789abcdef0123456789abcdef01234567"
ALL_THE_SAME = (
    EngineSettings(device="cpu"),
    EngineSettings(device="cpu", revision=SHA),
    EngineSettings(device="cpu", revision=SHA, trust_remote_code=True),
)
CODE = """
from pathlib import Path
Path({mark!r}).touch()
from transformers import LlamaConfig, LlamaForCausalLM
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that exists once code of a model has run."""
    return tmp_path / "ran"


@pytest.fixture
def folder(tmp_path: Path, tiny_lm: Path, mark: Path) -> Path:
    """A chat model whose configuration asks for code of its own."""
    folder = shutil.copytree(tiny_lm, tmp_path / "lm")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(CODE.format(mark=str(mark)))
    return folder


@pytest.fixture
def hub(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same model as a hub's, already fetched: its name."""
    cached = tmp_path / "hub/models--org--own"
    shutil.copytree(folder, cached / "snapshots" / SHA)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(SHA)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    return "org/own"


@pytest.mark.parametrize("settings", ALL_THE_SAME, ids=["plain", "pinned", "trusted"])
def test_a_local_folders_code_never_runs(folder: Path, mark: Path, settings: EngineSettings) -> None:
    with pytest.raises(InputError, match="cannot load the model"):
        HfEngine(str(folder), settings)
    assert not mark.exists()


@pytest.mark.parametrize("settings", ALL_THE_SAME[:2], ids=["plain", "pinned"])
def test_a_hubs_code_does_not_run_unless_it_is_trusted(hub: str, mark: Path, settings: EngineSettings) -> None:
    with pytest.raises(InputError, match="cannot load the model"):
        HfEngine(hub, settings)
    assert not mark.exists()


def test_the_code_of_the_pinned_commit_runs_when_it_is_trusted(hub: str, mark: Path) -> None:
    """Also the proof that the code of these tests would run."""
    assert type(HfEngine(hub, ALL_THE_SAME[2]).model).__name__ == "OwnModel"
    assert mark.exists()


def test_another_commit_than_the_pinned_one_is_not_loaded(hub: str, mark: Path) -> None:
    with pytest.raises(InputError):
        HfEngine(hub, EngineSettings(device="cpu", revision="f" * 40, trust_remote_code=True))
    assert not mark.exists()


def test_a_tokenizers_code_does_not_run(folder: Path, mark: Path) -> None:
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="cannot load the tokenizer"):
        control_tokens(str(folder))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["own.OwnModule", "os.path.join", "torch.hub"])
def test_an_encoder_cannot_name_classes_of_elsewhere(tiny_encoder: Path, tmp_path: Path, mark: Path, name: str) -> None:
    folder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = name
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "own.py").write_text(CODE.format(mark=str(mark)))
    (folder / "hubconf.py").write_text(CODE.format(mark=str(mark)))
    with pytest.raises(InputError, match="cannot load the encoder"):
        load_encoder(str(folder))
    assert not mark.exists()


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_pickled_weights_cannot_run_anything(tiny_lm: Path, tmp_path: Path, mark: Path, form: str) -> None:
    """pytorch_model.bin is a pickle; transformers reads it as weights only."""
    folder = shutil.copytree(tiny_lm, tmp_path / "lm")
    (folder / "model.safetensors").unlink()
    data = pickle.dumps({"model.norm.weight": Payload(mark)}, protocol=2)
    if form == "zip":
        with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
            archive.writestr("archive/data.pkl", data)
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/byteorder", "little")
    else:
        (folder / "pytorch_model.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"cannot load the model .*nothing of it was run"):
        HfEngine(str(folder), EngineSettings(device="cpu"))
    assert not mark.exists()
    pickle.loads(data)
    assert mark.exists()
