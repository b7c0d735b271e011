"""Finished records of earlier runs, found by id: what another number of shards, or a lost terminal, need not compute again."""

import glob
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from dynamicrag_cli.adapters.files.journal import is_outcome, read_header
from dynamicrag_cli.adapters.files.jsonl import open_read
from dynamicrag_cli.adapters.files.manifest import differences, read_manifest
from dynamicrag_cli.core.errors import InputError, UsageError


class _Named(msgspec.Struct):
    """The one field of a record that is needed here."""

    id: str


class Reusable:
    """Records of finished outputs and unfinished journals of the same run, whatever their shard.

    Only ids and places are held; the lines stay in their files, which must therefore not be compressed.
    """

    def __init__(self, patterns: list[str], wanted: dict[str, Any]) -> None:
        self.places: dict[str, tuple[Path, int]] = {}
        self._open: dict[Path, BinaryIO] = {}
        for path in _paths(patterns):
            self._index(path, wanted)

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def __len__(self) -> int:
        return len(self.places)

    def line(self, name: str) -> bytes:
        """The record of this id, as its line without the line's end."""
        path, place = self.places[name]
        if path not in self._open:
            self._open[path] = path.open("rb")
        self._open[path].seek(place)
        return self._open[path].readline().rstrip(b"\n")

    def close(self) -> None:
        """Close the files."""
        for file in self._open.values():
            file.close()

    def _index(self, path: Path, wanted: dict[str, Any]) -> None:
        journal = path.suffix == ".partial"
        found = read_header(path) if journal else read_manifest(path).get("fingerprint")
        if found is None:
            raise InputError(f"--reuse {path}: no manifest beside it, so what made it is unknown")
        if changed := differences(without_shard(found), without_shard(wanted)):
            raise UsageError(f"--reuse {path}: it was made with other settings:\n  " + "\n  ".join(changed))
        decoder = msgspec.json.Decoder(_Named)
        with open_read(str(path)) as file:
            place = len(file.readline()) if journal else 0
            for line in file:
                # The tail of a journal may be torn; a reject is tried again.
                if line.endswith(b"\n") and not (journal and is_outcome(line)):
                    self.places.setdefault(decoder.decode(line).id, (path, place))
                place += len(line)


def without_shard(fingerprint: dict[str, Any]) -> dict[str, Any]:
    """A fingerprint with the shard taken out: equal for all parts of one run."""
    options = {name: value for name, value in fingerprint.get("options", {}).items() if name != "shard"}
    return {**fingerprint, "options": options}


def _paths(patterns: list[str]) -> list[Path]:
    """The files that the patterns name, without manifests and rejects.

    Raises:
        InputError: A pattern names no file, or a compressed one.
    """
    paths = []
    for pattern in patterns:
        found = [Path(name) for name in sorted(glob.glob(pattern))]  # noqa: PTH207 - the pattern may be absolute
        found = [path for path in found if not path.name.endswith((".manifest.json", ".rejects.jsonl"))]
        if not found:
            raise InputError(f"--reuse {pattern}: no such file")
        paths.extend(found)
    for path in paths:
        if path.suffix in {".gz", ".zst"}:
            raise InputError(f"--reuse {path}: unpack it first; records are read from their places")
    return paths
