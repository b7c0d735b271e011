"""The stage runner: the one place where record stages read, write, resume, count and report.

A stage is a function from a list of records to one outcome per record. The runner hands it `chunk` records at a time, appends the
outcomes to `OUT.partial`, and at the end publishes the output, `OUT.rejects.jsonl` and `OUT.manifest.json`. A second start with
the same fingerprint goes on after the last whole line; a finished output with the same fingerprint ends the command at once.
"""

import json
import resource
import shutil
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.adapters.files.journal import Entry, Journal, publish, publish_whole
from dynamicrag_cli.adapters.files.jsonl import STREAM, Reader, check_packing, encoder, lines, survey
from dynamicrag_cli.adapters.files.manifest import manifest_path, read_manifest, write_manifest
from dynamicrag_cli.adapters.files.reuse import Reusable
from dynamicrag_cli.cli.config import command_words
from dynamicrag_cli.cli.console import progress, say, write_stdout
from dynamicrag_cli.cli.freshness import check_folder_target, fingerprint, is_fresh
from dynamicrag_cli.cli.outputs import check_output
from dynamicrag_cli.cli.rejects import REJECTS, check_rejects, rejects_path, tell_rejects
from dynamicrag_cli.cli.workers import Apply, Prepare, workers
from dynamicrag_cli.core.errors import InputError, InterruptedRunError, UsageError
from dynamicrag_cli.core.records import KINDS, Record, Reject
from dynamicrag_cli.core.shards import parse_shard
from dynamicrag_cli.stages.outcome import Emission, Outcome

# Signals that end a run after the chunk in hand.
_STOPS = (signal.SIGINT, signal.SIGTERM)
# Line numbers with the records that stand there.
_Chunk = list[tuple[int, Any]]


@dataclass
class Stage:
    """One record stage, ready to run.

    Attributes:
        reads: Record type of the input.
        writes: Record type by file stem for a stage that writes a folder; `{"": kind}` for one output file.
        prepare: Loads models and returns the stage's function (records in, one outcome per record out, called once per chunk);
            called only when there is work. `--runner ray` sends it to other processes: it must not hold the typer context.
        keep: Whether a record is read at all (splits); records that are not kept are counted as skipped.
        note: Words to count about each written record (statuses), for the manifest.
        extra: Files to add to an output folder, by name, from the number of records per file.
        templates_hash: Hash of the prompts that the stage renders, if it renders any.
        tally: What the manifest is to tell of the work, filled while the stage runs.
        here: The function itself hands work to the workers of --runner, and so stays in this process.
    """

    reads: type[Record]
    writes: dict[str, type[Record]]
    prepare: Prepare
    keep: Callable[[Any], bool] | None = None
    note: Callable[[bytes], Iterable[str]] | None = None
    extra: Callable[[Counter[str]], dict[str, str]] | None = None
    templates_hash: str | None = None
    tally: Tally = field(default_factory=Tally)
    here: bool = False


def run_stage(ctx: typer.Context, source: str, output: str, stage: Stage) -> None:
    """Run a record stage from `source` to `output`; see the module's docstring."""
    single = "" in stage.writes
    if source != STREAM:
        _check_input(source, stage.reads, ctx)
    if output == STREAM:
        if not single:
            raise UsageError("this command writes several files; give -o DIR")
        if ctx.params.get("as_json"):
            raise UsageError("--json tells of the run on stdout, where the data goes; give -o OUT")
        _to_stdout(ctx, source, stage)
        return
    target = Path(output)
    if single:
        check_output(output, [source])
    else:
        check_folder_target(target, _kinds(stage))
    digest, n_lines = survey(source) if source != STREAM else (None, None)
    wanted = fingerprint(ctx, digest, stage.templates_hash)
    if not ctx.params.get("fresh") and source != STREAM and is_fresh(target, wanted):
        target.with_name(target.name + ".partial").unlink(missing_ok=True)
        say(f"{wanted['command']}: {output} is up to date")
        tell_program(ctx, "up to date", _told(target, read_manifest(target)))
        check_rejects(ctx, read_manifest(target)["counts"], rejects_path(target) if single else target / REJECTS)
        return
    _Run(ctx, source, target, stage, wanted, n_lines).go()


def tell_program(ctx: typer.Context, event: str, facts: dict[str, Any]) -> None:
    """With --json: one line on stdout that says what happened."""
    if ctx.params.get("as_json"):
        write_stdout(json.dumps({"event": event, **facts}, ensure_ascii=False))


def _check_input(source: str, reads: type[Record], ctx: typer.Context) -> None:
    path = Path(source)
    if not path.exists():
        raise InputError(f"{source}: no such file")
    if path.is_dir():
        raise InputError(f"{source}: is a folder, expected a JSONL file")
    check_packing(source)
    kind = KINDS.get(str(read_manifest(path).get("kind")))
    if kind and not issubclass(kind, reads):
        raise InputError(
            f"{source} holds {kind.__name__} records, and drag {' '.join(command_words(ctx))} wants {reads.__name__} records"
        )


class _Run:
    """One run of a stage into a file or folder."""

    def __init__(
        self, ctx: typer.Context, source: str, target: Path, stage: Stage, wanted: dict[str, Any], n_lines: int | None
    ) -> None:
        self.ctx, self.source, self.target, self.stage, self.wanted, self.n_lines = ctx, source, target, stage, wanted, n_lines
        self.single = "" in stage.writes
        self.interrupted = False
        self.started = time.monotonic()

    def go(self) -> None:
        try:
            self._go()
        except OSError as error:
            where = error.filename or self.target
            raise InputError(
                f"{where}: {error.strerror or error}; what is finished is kept, and the same command goes on"
            ) from error

    def _go(self) -> None:
        partial = self.target.with_name(self.target.name + ".partial")
        reusable = Reusable(self.ctx.params.get("reuse") or [], self.wanted)
        journal = self._open_journal(partial)
        if journal.n_done:
            say(f"{self.wanted['command']}: going on after {journal.n_done} records of an earlier run")
        tell_program(
            self.ctx,
            "start",
            {"command": self.wanted["command"], "input": self.source, "output": str(self.target), "resumed": journal.n_done},
        )
        reader: Reader[Any] = Reader(self.source, self.stage.reads)
        previous = {number: signal.getsignal(number) for number in _STOPS}
        try:
            n_in = self._loop(journal, reader, reusable)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._publish(partial, reader, n_in, journal)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            journal.close()
            reusable.close()

    def _open_journal(self, partial: Path) -> Journal:
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            return Journal(partial, self.wanted, fresh=bool(self.ctx.params.get("fresh")) or self.source == STREAM)
        except OSError as error:
            raise InputError(f"cannot write {self.target}: {error.strerror or error}") from error

    def _loop(self, journal: Journal, reader: Reader[Any], reusable: Reusable) -> int:
        """Read, process and write chunk by chunk; returns the number of input records."""
        ctx, stage = self.ctx, self.stage
        limit, shard = ctx.params.get("limit"), ctx.params.get("shard")
        items = chosen(reader.numbered(), stage.keep, limit, shard)
        total = _count(self.source, stage, limit, shard, self.n_lines)
        with workers(ctx, stage.prepare, stage.tally, here=stage.here) as apply, progress(self.wanted["command"], total) as bar:
            n_in = sum(1 for _ in islice(items, journal.n_done))
            bar.advance(n_in)
            for number in _STOPS:
                signal.signal(number, self._on_interrupt)
            for entries in _processed(apply, self._chunks(items), reusable):
                journal.append(entries)
                n_in += len(entries)
                bar.advance(len(entries))
        # A stream is not asked for more: that may take for ever.
        if self.interrupted and (self.source == STREAM or next(items, None)):
            raise InterruptedRunError(f"interrupted after {n_in} records; the same command goes on from there")
        return n_in

    def _chunks(self, items: Iterator[tuple[int, Any]]) -> Iterator[_Chunk]:
        """Chunks until the input ends, or until Ctrl-C: what is in hand by then is still finished."""
        while not self.interrupted and (chunk := list(islice(items, self.ctx.params.get("chunk") or 256))):
            yield chunk

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self.interrupted:
            raise InterruptedRunError("stopped at once; the finished chunks are kept, and the same command goes on from there")
        self.interrupted = True
        say("finishing the chunk in hand; Ctrl-C again stops at once")

    def _publish(self, partial: Path, reader: Reader[Any], n_in: int, journal: Journal) -> None:
        """Make output, rejects and manifest from the journal. It is deleted last: a second start repeats whatever was cut off."""
        single = self.single
        home = self.target.parent if single else self.target.with_name(self.target.name + ".finishing")
        if not single:
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
        targets = {"": self.target} if single else {stem: home / f"{stem}.jsonl" for stem in self.stage.writes}
        rejects = rejects_path(self.target) if single else home / REJECTS
        if single:
            # From here on the output is being replaced: the manifest of the old one must not vouch for the new.
            manifest_path(self.target).unlink(missing_ok=True)
        if single and journal.only_records and not self.stage.note:
            publish_whole(partial, self.target, rejects)
            counts, notes = Counter({"": n_in}), Counter[str]()
        else:
            counts, notes = publish(partial, targets, rejects, self.stage.note)
        n_rejected = counts.pop("rejects", 0)
        for name, text in (self.stage.extra(counts) if self.stage.extra else {}).items():
            (home / name).write_text(text, encoding="utf-8")
        manifest: dict[str, Any] = {
            "kind": _kinds(self.stage),
            "fingerprint": self.wanted,
            "source": self.source,
            "counts": {
                "in": n_in,
                "out": counts[""] if single else dict(counts),
                "rejected": n_rejected,
                "resumed": journal.n_done,
                **self.stage.tally.counts(),
            },
            "notes": dict(sorted(notes.items())),
            "moved_to_meta": reader.strange,
            "seconds": round(time.monotonic() - self.started, 3),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            **self.stage.tally.facts,
        }
        write_manifest(self.target if single else home, manifest)
        if not single:
            shutil.rmtree(self.target, ignore_errors=True)
            home.rename(self.target)
            rejects = self.target / rejects.name
        partial.unlink()
        _report(self.wanted["command"], manifest, self.target, rejects)
        tell_program(self.ctx, "end", _told(self.target, manifest))
        check_rejects(self.ctx, manifest["counts"], rejects)


def _told(target: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    return {"output": str(target), **{name: manifest.get(name) for name in ("counts", "notes", "seconds")}}


def _kinds(stage: Stage) -> object:
    """What the manifest says of an output: the record type, or the record type of each file of a folder."""
    kinds = {stem: kind.__name__ for stem, kind in stage.writes.items()}
    return kinds.get("", kinds)


def chosen(
    numbered: Iterator[tuple[int, Any]], keep: Callable[[Any], bool] | None, limit: int | None, shard: str | None
) -> Iterator[tuple[int, Any]]:
    """Line numbers with what they hold: the first `limit` records that the stage wants, of which the shard has its part."""
    kept = (pair for pair in numbered if keep is None or isinstance(pair[1], Reject) or keep(pair[1]))
    part = parse_shard(shard) if shard else None
    # A line without an id belongs to a shard by its number, so that just one of them reports it.
    return (pair for pair in islice(kept, limit) if part is None or part.holds(pair[1].id or pair[0]))


def _count(source: str, stage: Stage, limit: int | None, shard: str | None, n_lines: int | None) -> int | None:
    """How many records the loop will see, for the progress bar; `n_lines` may count empty lines, and is None where unknown."""
    if source == STREAM:
        return None
    if stage.keep or shard:
        return sum(1 for _ in chosen(Reader(source, stage.reads).numbered(), stage.keep, limit, shard))
    if n_lines is None:
        return sum(1 for _ in islice(lines(source), limit))
    return n_lines if limit is None else min(n_lines, limit)


def _processed(apply: Apply, chunks: Iterator[_Chunk], reusable: Reusable) -> Iterator[list[Entry]]:
    """Every chunk's entries, in input order."""
    given: deque[_Chunk] = deque()

    def records() -> Iterator[list[Any]]:
        for chunk in chunks:
            given.append(chunk)
            yield [item for _, item in chunk if not isinstance(item, Reject) and item.id not in reusable]

    for outcomes in apply(records()):
        yield _entries(given.popleft(), iter(outcomes), reusable)


def _entries(chunk: _Chunk, outcomes: Iterator[Outcome], reusable: Reusable) -> list[Entry]:
    """What became of every record of a chunk; lines that were no records stay rejects."""
    made: list[Entry] = []
    for number, item in chunk:
        if not isinstance(item, Reject) and item.id in reusable:
            made.append(reusable.line(item.id))
            continue
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
    items = chosen(Reader(source, stage.reads).numbered(), stage.keep, ctx.params.get("limit"), ctx.params.get("shard"))
    chunks = iter(lambda: list(islice(items, ctx.params.get("chunk") or 256)), [])
    n_in = n_rejected = 0
    with workers(ctx, stage.prepare, stage.tally, here=stage.here) as apply:
        for outcomes in _processed(apply, chunks, Reusable([], {})):
            for outcome in outcomes:
                n_in += 1
                if isinstance(outcome, Reject):
                    n_rejected += 1
                    say(f"rejected: line {outcome.line}{f' ({outcome.id})' if outcome.id else ''}: {outcome.reason}")
                else:
                    sys.stdout.buffer.write(encoder.encode(outcome) + b"\n")
            sys.stdout.buffer.flush()
    check_rejects(ctx, {"in": n_in, "rejected": n_rejected})


def _report(command: str, manifest: dict[str, Any], target: Path, rejects: Path) -> None:
    counts = manifest["counts"]
    out = counts["out"]
    if isinstance(out, dict):
        out = ", ".join(f"{n} {stem}" for stem, n in out.items()) or "nothing"
    speed = (counts["in"] - counts["resumed"]) / max(manifest["seconds"], 1e-9)
    say(f"{command}: {counts['in']} in, {out} out, {manifest['seconds']:.1f} s ({speed:.1f}/s) -> {target}")
    for note, count in manifest["notes"].items():
        say(f"  {count:>6}  {note}")
    if "cache_hits" in counts:
        say(f"  {counts['cache_hits']:>6}  greedy replies out of the cache, {counts['cache_misses']} asked of a model")
    if manifest["moved_to_meta"]:
        say("  unknown fields kept in meta: " + ", ".join(f"{k} ({n})" for k, n in sorted(manifest["moved_to_meta"].items())))
    if not counts["in"]:
        say(f"  {manifest['source']} has no record for this call: look at it with drag validate, and at --split and --shard")
    tell_rejects(counts["rejected"], rejects)
