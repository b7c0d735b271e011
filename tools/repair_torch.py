"""Make an environment importable in which torchvision, torchaudio or torchcodec do not fit the installed torch.

An index may serve CUDA builds of these beside a CPU build of torch; they then fail at import and take transformers, vLLM or
LLaMA-Factory down with them, though none of their functions is used here. Only a package whose import fails is touched:
torchvision and torchcodec are uninstalled; torchaudio is imported by LLaMA-Factory, so only its binary extension is removed.
"""

import subprocess
import sys
from importlib import util
from pathlib import Path


def imports(name: str) -> bool:
    """Whether the package imports in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


def main() -> None:
    """Repair what does not import."""
    for name in ("torchvision", "torchcodec", "torchaudio"):
        spec = util.find_spec(name)
        if spec is None or spec.origin is None or imports(name):
            continue
        if name == "torchaudio":
            for extension in (Path(spec.origin).parent / "lib").glob("_torchaudio*.so"):
                extension.unlink()
        if not imports(name):
            subprocess.run([sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", name], check=True)
        print(f"{name} did not fit the installed torch and was repaired", file=sys.stderr)


if __name__ == "__main__":
    main()
