"""The journal of a running stage, `OUT.partial`: one line per input record, in input order, flushed per chunk.

The first line holds the run's fingerprint. Line i + 1 holds what became of input record i: the output record itself, or an object
with the single key `files` (records for several files) or `reject`. So resuming is: cut a torn last line, count the lines, skip
that many inputs.
"""

import contextlib
import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from dynamicrag_cli.adapters.files.jsonl import BUFFER_BYTES, encoder, finish
from dynamicrag_cli.adapters.files.manifest import differences
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.records import Record, Reject

_SYNC_S = 5.0
_REJECT, _FILES = b'{"reject":', b'{"files":'


# What became of one input record: its output, a reject, records for several files, or a line made earlier.
Entry = Record | Reject | tuple[str, dict[str, list[Record]]] | bytes


class Journal:
    """An open journal, locked against a second process.

    A chunk is in the file, and safe from a kill, when `append` returns. A second thread brings the file to the disk, safe from a
    power cut, with the first chunk that comes `_SYNC_S` or more after the last time, and when the journal is closed; what goes
    wrong there is raised by a later `append`.

    Attributes:
        n_done: Input records that earlier runs have dealt with.
        only_records: Whether every outcome so far is an output record: nothing was rejected or is meant for several files.
    """

    def __init__(self, path: Path, fingerprint: dict[str, Any], *, fresh: bool) -> None:
        self.path = path
        self.n_done = 0
        self.only_records = True
        self.synced = 0.0
        self._syncing: Future[None] | None = None
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self.file: BinaryIO = path.open("a+b")
        try:
            _lock(self.file, path)
            if fresh:
                self.file.truncate(0)
            elif self.file.tell():
                self.n_done, self.only_records = _repair(self.file, path, fingerprint)
            self.file.seek(0, os.SEEK_END)
            if not self.file.tell():
                self._write(encoder.encode({"fingerprint": fingerprint}) + b"\n")
        except BaseException:
            self.file.close()
            raise

    def append(self, outcomes: Iterable[Entry]) -> None:
        """Write one chunk, whole lines only."""
        entries = list(outcomes)
        self.only_records = self.only_records and all(map(_is_record, entries))
        self._write(encoder.encode_lines(map(_encodable, entries)))

    def _write(self, data: bytes) -> None:
        self.file.write(data)
        self.file.flush()
        if time.monotonic() - self.synced > _SYNC_S and (self._syncing is None or self._syncing.done()):
            if self._syncing:
                self._syncing.result()
            self._syncing = self._syncer.submit(os.fsync, self.file.fileno())
            self.synced = time.monotonic()

    def close(self) -> None:
        """Sync (unless it was deleted), close and unlock the file."""
        self._syncer.shutdown()
        # A full disk leaves unwritten bytes behind, which closing would try to write again.
        with contextlib.suppress(OSError):
            if os.fstat(self.file.fileno()).st_nlink:
                os.fsync(self.file.fileno())
        with contextlib.suppress(OSError):
            self.file.close()


def _lock(file: BinaryIO, path: Path) -> None:
    """Hold the journal for this process alone; the lock ends with the process, however it dies.

    Raises:
        UsageError: Another process holds it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"{path} is being written by another drag process; wait for it, or give another -o") from None
    except OSError:
        # Some network file systems know no locks.
        return


def _is_record(outcome: Entry) -> bool:
    return not isinstance(outcome, Reject | tuple) and not (isinstance(outcome, bytes) and is_outcome(outcome))


def _encodable(outcome: Entry) -> object:
    if isinstance(outcome, bytes):
        return msgspec.Raw(outcome)
    if isinstance(outcome, Reject):
        return {"reject": outcome}
    if isinstance(outcome, tuple):
        return {"files": outcome[1], "note": outcome[0]}
    return outcome


def _repair(file: BinaryIO, path: Path, fingerprint: dict[str, Any]) -> tuple[int, bool]:
    """Cut a torn tail; returns the number of outcomes, and whether all of them are output records.

    Raises:
        UsageError: The journal belongs to a run with other settings.
    """
    file.seek(0)
    header = file.readline()
    if not header.endswith(b"\n"):
        file.truncate(0)
        return 0, True
    found = _fingerprint(header, path)
    start = file.tell()
    changed = "\n  ".join(differences(found, fingerprint))
    if changed and not file.readline():
        # Nothing was finished under the other settings, so nothing can be lost.
        file.truncate(0)
        return 0, True
    if changed:
        raise UsageError(
            f"{path} holds an unfinished run with other settings:\n  {changed}\n"
            "Repeat the command with its settings to finish it, or type --fresh to throw it away."
        )
    file.seek(start)
    count, end, only_records = 0, start, True
    for line in file:
        if not line.endswith(b"\n"):
            break
        count, end, only_records = count + 1, end + len(line), only_records and not is_outcome(line)
    file.truncate(end)
    return count, only_records


def _fingerprint(header: bytes, path: Path) -> dict[str, Any]:
    try:
        return dict(msgspec.json.decode(header)["fingerprint"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: not a journal of drag; move it away, or type --fresh to start anew") from None


def read_header(path: Path) -> dict[str, Any]:
    """The fingerprint of the run that a journal belongs to."""
    with path.open("rb") as file:
        return _fingerprint(file.readline(), path)


def is_outcome(line: bytes) -> bool:
    """Whether a line says what became of a record instead of holding its output: a reject, or records for several files."""
    return line.startswith((_REJECT, _FILES))


def publish(
    journal: Path, targets: dict[str, Path], rejects: Path, inspect: Callable[[bytes], Iterable[str]] | None
) -> tuple[Counter[str], Counter[str]]:
    """Split a finished journal into its output files; returns records per file (`""` is the only file) and counted notes.

    The journal stays. Files are written aside, synced and renamed; `rejects` is there afterwards only if something was rejected.
    """
    counts: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    staged = {name: _aside(target) for name, target in targets.items()}
    staged["rejects"] = _aside(rejects)
    files = {name: path.open("wb", buffering=BUFFER_BYTES) for name, path in staged.items()}
    with journal.open("rb", buffering=BUFFER_BYTES) as lines:
        lines.readline()
        for line in lines:
            if line.startswith(_REJECT):
                files["rejects"].write(line[len(_REJECT) : -2] + b"\n")
                counts["rejects"] += 1
            elif line.startswith(_FILES):
                emitted = msgspec.json.decode(line)
                notes[emitted["note"]] += 1
                for name, records in emitted["files"].items():
                    files[name].writelines(encoder.encode(record) + b"\n" for record in records)
                    counts[name] += len(records)
            else:
                files[""].write(line)
                counts[""] += 1
                notes.update(inspect(line) if inspect else ())
    for file in files.values():
        file.close()
    for name, target in {**targets, "rejects": rejects}.items():
        if name == "rejects" and not counts["rejects"]:
            staged[name].unlink()
            target.unlink(missing_ok=True)
        else:
            finish(staged[name], target)
    return counts, notes


def publish_whole(journal: Path, target: Path, rejects: Path) -> None:
    """What `publish` does with a journal of nothing but output records: all but its first line, without looking at any."""
    with journal.open("rb", buffering=BUFFER_BYTES) as source, _aside(target).open("wb") as sink:
        source.readline()
        while block := source.read(BUFFER_BYTES):
            sink.write(block)
    rejects.unlink(missing_ok=True)
    finish(_aside(target), target)


def _aside(target: Path) -> Path:
    return target.with_name(target.name + ".plain")
