"""The stage runner: the one place where record stages read, write, resume, count and report.

A stage is a function from a list of records to one outcome per record. The runner hands it `chunk` records at a time, appends the
outcomes to `OUT.partial`, and at the end publishes the output, `OUT.rejects.jsonl` and `OUT.manifest.json`. A second start with
the same fingerprint goes on after the last whole line; a finished output with the same fingerprint ends the command at once.
"""

import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from dynamicrag_cli.adapters.files import journal as journals
from dynamicrag_cli.adapters.files.jsonl import STREAM, Reader, encoder, lines
from dynamicrag_cli.adapters.files.manifest import file_hash, identity, manifest_path, read_manifest, write_manifest
from dynamicrag_cli.cli.config import command_words
from dynamicrag_cli.cli.console import progress, say
from dynamicrag_cli.cli.options import settings_of
from dynamicrag_cli.core.errors import DragError, InputError, TooManyRejectsError, UsageError
from dynamicrag_cli.core.records import SCHEMA_VERSION, Record, Reject
from dynamicrag_cli.stages.outcome import Emission, Outcome

# Options whose value is a model, an index or another path: their content counts, not their name.
_CONTENT = ("model", "reader", "tokenizer", "index", "judge", "encoder", "bertscore-model", "deepspeed")


class InterruptedRunError(DragError):
    """The run was stopped by Ctrl-C; what it had finished is kept."""

    exit_code = 130


@dataclass
class Stage:
    """One record stage, ready to run.

    Attributes:
        reads: Record type of the input.
        writes: Record type by file stem for a stage that writes a folder; `{"": kind}` for one output file.
        prepare: Loads models and returns the stage's function (records in, one outcome per record out, called once per chunk);
            called only when there is work.
        keep: Whether a record is read at all (splits); records that are not kept are counted as skipped.
        note: Words to count about each written record (statuses), for the manifest.
        extra: Files to add to an output folder, by name, from the number of records per file.
        facts: More entries for the manifest, filled while the stage runs.
        templates_hash: Hash of the prompts that the stage renders, if it renders any.
    """

    reads: type[Record]
    writes: dict[str, type[Record]]
    prepare: Callable[[], Callable[[list[Any]], Sequence[Outcome]]]
    keep: Callable[[Any], bool] | None = None
    note: Callable[[bytes], Iterable[str]] | None = None
    extra: Callable[[Counter[str]], dict[str, str]] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    templates_hash: str | None = None


def fingerprint(ctx: typer.Context, source: str | None, templates_hash: str | None = None) -> dict[str, Any]:
    """What decides the result of this call: command, options, content of models and input, templates, schema."""
    settings = settings_of(ctx)
    for name in _CONTENT:
        if settings.get(name):
            value = settings[name]
            settings[name] = [identity(str(v)) for v in value] if isinstance(value, list) else identity(str(value))
    return {
        "command": " ".join(command_words(ctx)),
        "options": settings,
        "input": file_hash(Path(source)) if source and source != STREAM else None,
        "templates": templates_hash,
        "schema": SCHEMA_VERSION,
    }


def is_fresh(output: Path, wanted: dict[str, Any]) -> bool:
    """Whether a finished output of the same fingerprint exists; its manifest is then touched, so that make sees it as new."""
    if output.exists() and read_manifest(output).get("fingerprint") == wanted:
        output.touch()
        manifest_path(output).touch()
        return True
    return False


def run_stage(ctx: typer.Context, source: str, output: str, stage: Stage) -> None:
    """Run a record stage from `source` to `output`; see the module's docstring."""
    single = "" in stage.writes
    if source != STREAM:
        _check_input(source, output)
    if output == STREAM:
        if not single:
            raise UsageError("this command writes several files; give -o DIR")
        _to_stdout(ctx, source, stage)
        return
    target = Path(output)
    if single and target.is_dir():
        raise UsageError(f"{output} is a folder; give -o the name of a file")
    if not single:
        check_folder_target(target, _kinds(stage))
    wanted = fingerprint(ctx, source, stage.templates_hash)
    if not ctx.params.get("fresh") and source != STREAM and is_fresh(target, wanted):
        target.with_name(target.name + ".partial").unlink(missing_ok=True)
        say(f"{wanted['command']}: {output} is up to date")
        _check_rejects(ctx, read_manifest(target)["counts"], target if single else manifest_path(target))
        return
    _Run(ctx, source, target, stage, wanted).go()


def check_folder_target(target: Path, kind: object) -> None:
    """Refuse an output folder whose content is not of this kind, before any work.

    Raises:
        UsageError: The target is a file, or a folder with files that are not an output of `kind` of ours.
    """
    if target.is_file():
        raise UsageError(f"{target} is a file; give -o the name of a folder")
    if target.is_dir() and any(target.iterdir()):
        try:
            manifest = read_manifest(target)
        except InputError:
            manifest = {}
        if "drag" not in manifest or manifest.get("kind") != kind:
            raise UsageError(f"{target} holds other files; give -o a new or empty folder")


def _check_input(source: str, output: str) -> None:
    path = Path(source)
    if not path.exists():
        raise InputError(f"{source}: no such file")
    if path.is_dir():
        raise InputError(f"{source}: is a folder, expected a JSONL file")
    if output != STREAM and Path(output).exists() and path.samefile(output):
        raise UsageError(f"{source} is both input and output; give another -o")


class _Run:
    """One run of a stage into a file or folder."""

    def __init__(self, ctx: typer.Context, source: str, target: Path, stage: Stage, wanted: dict[str, Any]) -> None:
        self.ctx, self.source, self.target, self.stage, self.wanted = ctx, source, target, stage, wanted
        self.single = "" in stage.writes
        self.interrupted = False
        self.started = time.monotonic()

    def go(self) -> None:
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            partial = self.target.with_name(self.target.name + ".partial")
            journal = journals.Journal(partial, self.wanted, fresh=bool(self.ctx.params.get("fresh")) or self.source == STREAM)
        except OSError as error:
            raise InputError(f"cannot write {self.target}: {error.strerror or error}") from error
        if journal.n_done:
            say(f"{self.wanted['command']}: going on after {journal.n_done} records of an earlier run")
        reader: Reader[Any] = Reader(self.source, self.stage.reads)
        previous = signal.getsignal(signal.SIGINT)
        try:
            n_in = self._loop(journal, reader)
        except OSError as error:
            raise InputError(f"cannot write {partial}: {error.strerror or error}; what is finished is kept") from error
        finally:
            signal.signal(signal.SIGINT, previous)
            journal.close()
        self._publish(partial, reader, n_in, journal.n_done)

    def _loop(self, journal: journals.Journal, reader: Reader[Any]) -> int:
        """Read, process and write chunk by chunk; returns the number of input records."""
        limit = self.ctx.params.get("limit")
        items = islice(_kept(reader, self.stage.keep), limit)
        total = _count(self.source, self.stage, limit)
        process: Callable[[list[Any]], Sequence[Outcome]] | None = None
        n_in = 0
        with progress(self.wanted["command"], total) as bar:
            for _ in islice(items, journal.n_done):
                n_in += 1
            bar.advance(n_in)
            signal.signal(signal.SIGINT, self._on_interrupt)
            while chunk := list(islice(items, self.ctx.params.get("chunk") or 256)):
                process = process or self.stage.prepare()
                journal.append(_process(process, chunk))
                n_in += len(chunk)
                bar.advance(len(chunk))
                if self.interrupted and n_in != total:
                    raise InterruptedRunError(f"interrupted after {n_in} records; the same command goes on from there")
        return n_in

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self.interrupted:
            raise InterruptedRunError("stopped at once; the finished chunks are kept, and the same command goes on from there")
        self.interrupted = True
        say("finishing the chunk in hand; Ctrl-C again stops at once")

    def _publish(self, partial: Path, reader: Reader[Any], n_in: int, n_resumed: int) -> None:
        """Make output, rejects and manifest from the journal. It is deleted last: a second start repeats whatever was cut off."""
        single = self.single
        home = self.target.parent if single else self.target.with_name(self.target.name + ".finishing")
        if not single:
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
        targets = {"": self.target} if single else {stem: home / f"{stem}.jsonl" for stem in self.stage.writes}
        rejects = home / (f"{_stem(self.target)}.rejects.jsonl" if single else "rejects.jsonl")
        if single:
            # From here on the output is being replaced: the manifest of the old one must not vouch for the new.
            manifest_path(self.target).unlink(missing_ok=True)
        counts, notes = journals.publish(partial, targets, rejects, self.stage.note)
        n_rejected = counts.pop("rejects", 0)
        for name, text in (self.stage.extra(counts) if self.stage.extra else {}).items():
            (home / name).write_text(text, encoding="utf-8")
        manifest: dict[str, Any] = {
            "kind": _kinds(self.stage),
            "fingerprint": self.wanted,
            "source": self.source,
            "counts": {"in": n_in, "out": counts[""] if single else dict(counts), "rejected": n_rejected, "resumed": n_resumed},
            "notes": dict(sorted(notes.items())),
            "moved_to_meta": reader.strange,
            "seconds": round(time.monotonic() - self.started, 3),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            **self.stage.facts,
        }
        write_manifest(self.target if single else home, manifest)
        if not single:
            shutil.rmtree(self.target, ignore_errors=True)
            home.rename(self.target)
            rejects = self.target / rejects.name
        partial.unlink()
        _report(self.wanted["command"], manifest, self.target, rejects)
        _check_rejects(self.ctx, manifest["counts"], self.target if single else manifest_path(self.target))


def _check_rejects(ctx: typer.Context, counts: dict[str, int], where: Path | None = None) -> None:
    """Say by the exit code that more was rejected than is allowed; what was not is in the output all the same."""
    n_in, n_rejected = counts["in"], counts["rejected"]
    if n_in and n_rejected / n_in > float(ctx.params.get("max_reject_rate", 0.01)):
        raise TooManyRejectsError(
            f"{n_rejected} of {n_in} records were rejected, more than --max-reject-rate allows; see {where}"
        )


def _kinds(stage: Stage) -> object:
    """What the manifest says of an output: the record type, or the record type of each file of a folder."""
    kinds = {stem: kind.__name__ for stem, kind in stage.writes.items()}
    return kinds.get("", kinds)


def _kept(reader: Reader[Any], keep: Callable[[Any], bool] | None) -> Iterator[tuple[int, Any]]:
    """Line numbers with what they hold, without the records that the stage does not want."""
    return (pair for pair in reader.numbered() if keep is None or isinstance(pair[1], Reject) or keep(pair[1]))


def _count(source: str, stage: Stage, limit: int | None) -> int | None:
    """How many records the loop will see, for the progress bar; None where counting would cost as much as reading."""
    if source == STREAM:
        return None
    total = sum(1 for _ in (_kept(Reader(source, stage.reads), stage.keep) if stage.keep else lines(source)))
    return min(total, limit) if limit else total


def _process(
    process: Callable[[list[Any]], Sequence[Outcome]], chunk: list[tuple[int, Any]]
) -> list[Record | Reject | tuple[str, dict[str, list[Record]]]]:
    """The chunk's outcomes in input order; lines that were no records stay rejects."""
    usable = [item for _, item in chunk if not isinstance(item, Reject)]
    outcomes = iter(process(usable) if usable else ())
    made: list[Record | Reject | tuple[str, dict[str, list[Record]]]] = []
    for number, item in chunk:
        outcome = item if isinstance(item, Reject) else next(outcomes)
        if isinstance(outcome, Exception):
            made.append(Reject(line=number, id=item.id, reason=str(outcome)))
        elif isinstance(outcome, Emission):
            made.append((outcome.note, outcome.files))
        else:
            made.append(outcome)
    return made


def _to_stdout(ctx: typer.Context, source: str, stage: Stage) -> None:
    """Stream to stdout; there is nothing to resume, and rejects are told on stderr."""
    items = islice(_kept(Reader(source, stage.reads), stage.keep), ctx.params.get("limit"))
    process = None
    n_in = n_rejected = 0
    while chunk := list(islice(items, ctx.params.get("chunk") or 256)):
        process = process or stage.prepare()
        for outcome in _process(process, chunk):
            n_in += 1
            if isinstance(outcome, Reject):
                n_rejected += 1
                say(f"rejected: line {outcome.line}{f' ({outcome.id})' if outcome.id else ''}: {outcome.reason}")
            else:
                sys.stdout.buffer.write(encoder.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()
    _check_rejects(ctx, {"in": n_in, "rejected": n_rejected})


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".gz", ".zst", ".jsonl"):
        name = name.removesuffix(suffix)
    return name


def _report(command: str, manifest: dict[str, Any], target: Path, rejects: Path) -> None:
    counts = manifest["counts"]
    out = (
        counts["out"]
        if isinstance(counts["out"], int)
        else ", ".join(f"{n} {stem}" for stem, n in counts["out"].items()) or "nothing"
    )
    speed = (counts["in"] - counts["resumed"]) / max(manifest["seconds"], 1e-9)
    say(f"{command}: {counts['in']} in, {out} out, {manifest['seconds']:.1f} s ({speed:.1f}/s) -> {target}")
    for note, count in manifest["notes"].items():
        say(f"  {count:>6}  {note}")
    if manifest["moved_to_meta"]:
        say("  unknown fields kept in meta: " + ", ".join(f"{k} ({n})" for k, n in sorted(manifest["moved_to_meta"].items())))
    if counts["rejected"]:
        say(f"  {counts['rejected']} rejected, with reasons: {rejects}")
