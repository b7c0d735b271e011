"""Sizes and short digests of the files of a folder, so that a truncated or swapped one is noticed before it is used.

This finds accidents, not forgery: whoever can change a file can change the manifest that holds its seal.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dynamicrag_cli.core.errors import InputError

_END = 2**20


def seal(folder: Path) -> dict[str, dict[str, Any]]:
    """Every file below a folder by its relative name: its size, and a hash of its first and last megabyte."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "ends": _ends(path)} for path in files}


def check_seal(folder: Path, sealed: Mapping[str, Mapping[str, Any]], remedy: str) -> None:
    """Compare a folder with its seal; files that came later are of no interest.

    Raises:
        InputError: A file is gone or is not the one that was sealed; the message names it and ends with the remedy.
    """
    for name, kept in sealed.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: the file is missing; {remedy}")
        size = path.stat().st_size
        if size != kept["size"]:
            raise InputError(f"{path}: {size} bytes, but it was made with {kept['size']}; {remedy}")
        if _ends(path) != kept["ends"]:
            raise InputError(f"{path}: another file than the one that was made here; {remedy}")


def _ends(path: Path) -> str:
    """A hash that costs the same for a large file as for a small one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_END))
        file.seek(max(size - _END, 0))
        digest.update(file.read())
    return digest.hexdigest()
