"""`drag convert`."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from dynamicrag_cli.adapters.files import trec as trec_files
from dynamicrag_cli.adapters.files.items import items
from dynamicrag_cli.adapters.files.jsonl import STREAM, Reader, encoder, finish, lines
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import say
from dynamicrag_cli.cli.outputs import check_output
from dynamicrag_cli.cli.rejects import check_rejects, rejects_path, tell_rejects
from dynamicrag_cli.cli.validate import identify
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.exchange import trec
from dynamicrag_cli.core.exchange.formats import FORMATS, TREC, Format
from dynamicrag_cli.core.inspection import Inspector
from dynamicrag_cli.core.records import Prediction, Question, Record, Reject
from dynamicrag_cli.core.tasks import TASKS

Rows = Iterator[tuple[int, Record | Reject]]
_READ = sorted({"drag", *TREC, *(name for name, row in FORMATS.items() if row.read)})
_WRITTEN = sorted({"drag", *(name for name, row in FORMATS.items() if row.write or row.lines)})
_DRAG = "drag"


def convert(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What to convert (.gz and .zst by name).", show_default=False)],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="Output (.gz and .zst by name, - for stdout).")],
    origin: Annotated[
        str, typer.Option("--from", parser=opt.one_of("format", _READ), metavar="FORMAT", help=f"One of {', '.join(_READ)}.")
    ],
    target: Annotated[
        str, typer.Option("--to", parser=opt.one_of("format", _WRITTEN), metavar="FORMAT", help=f"One of {', '.join(_WRITTEN)}.")
    ] = _DRAG,
    dataset: Annotated[
        str | None,
        typer.Option(
            parser=opt.one_of("dataset", TASKS), metavar="NAME", help="Data set of the questions (default: what they say)."
        ),
    ] = None,
    kind: opt.RecordKind = None,
    questions: Annotated[
        str | None, typer.Option(metavar="QUESTIONS", help="From TREC: the questions, since the file has only ids.")
    ] = None,
    passages: Annotated[
        str | None, typer.Option(metavar="PASSAGES", help="From a TREC run: the passages, since the file has only ids.")
    ] = None,
    min_grade: Annotated[int, typer.Option(min=1, help="From TREC qrels: the lowest grade of a gold passage.")] = 1,
    max_reject_rate: opt.MaxRejectRate = 0.01,
) -> None:
    """Convert files of other projects to records of drag, and back.

    TREC runs and qrels; predictions of the original DynamicRAG, FlashRAG and ALCE; DynamicRAG's released evaluation and
    training data. What cannot be converted is in OUT.rejects.jsonl with the reason. docs/formats.md tells what each format keeps.

    Example: drag convert dpo.jsonl -o dpo.run --from drag --to trec-run

    Example: drag convert nq.json -o candidates.jsonl --from dynamicrag-eval --dataset nq
    """
    check_output(output, (file, questions, passages))
    if origin in TREC:
        rows = _from_trec(file, origin, questions, passages, min_grade)
    elif origin == _DRAG:
        rows = _from_drag(file, target, kind)
    else:
        rows = _from_items(file, FORMATS[origin], dataset)
    writer = _Writer(output, target)
    with writer:
        for number, row in _once(rows):
            writer.add(number, row)
    say(f"convert: {writer.n_in} in, {writer.n_out} out, {writer.n_rejected} rejected -> {output}")
    if writer.n_empty:
        say(f"  {writer.n_empty} without a passage have no line in the file")
    if writer.n_unanswered:
        say(f"  {writer.n_unanswered} without an answer: {target} knows no missing answer, it is written as an empty one")
    where = None if output == STREAM else rejects_path(Path(output))
    if where:
        tell_rejects(writer.n_rejected, where)
    check_rejects(ctx, {"in": writer.n_in, "rejected": writer.n_rejected}, where)


def _from_items(file: str, wanted: Format, dataset: str | None) -> Rows:
    assert wanted.read
    for number, item in items(file):
        if isinstance(item, Reject):
            yield number, item
            continue
        try:
            yield number, wanted.read(item, f"{dataset or 'item'}-{number}", dataset)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = (
                str(error) if isinstance(error, ValueError) else f"not an item of this format ({type(error).__name__}: {error})"
            )
            yield number, Reject(line=number, id=str(item["id"]) if "id" in item else None, reason=reason)


def _from_drag(file: str, target: str, name: str | None) -> Rows:
    kind, rows = identify(file, lines(file), name)
    takes = FORMATS[target].takes
    if not issubclass(kind, takes):
        raise InputError(f"{file}: a file of {kind.__name__} records; {target} is made of {takes.__name__} records")
    inspector = Inspector(kind)
    for number, line in rows:
        record, found, findings = inspector.read(line)
        yield number, record or Reject(line=number, id=found, reason=f"{findings[0].field} {findings[0].reason}".strip())


def _from_trec(file: str, source: str, questions: str | None, passages: str | None, min_grade: int) -> Rows:
    """All lines of a question together, in the order of the questions."""
    run = source == "trec-run"
    if questions is None or (run and passages is None):
        raise UsageError(f"{source} has only ids; give --questions{' and --passages' if run else ''}")
    found, rejected = trec_files.grouped(file, TREC[source])
    yield from ((reject.line, reject) for reject in rejected)
    names = {name for ranked in found.values() for name in ranked}
    known = trec_files.passages(passages, names) if run and passages else {}
    lacking = 0
    for number, item in Reader(questions, Question).numbered():
        if isinstance(item, Reject):
            raise InputError(f"{questions}, line {number}: {item.reason}")
        ranked = found.pop(item.id, None)
        if ranked is None:
            lacking += 1
            continue
        try:
            yield number, trec.read_run(item, ranked, known) if run else trec.read_qrels(item, ranked, min_grade)
        except ValueError as error:
            yield number, Reject(line=number, id=item.id, reason=str(error))
    yield from ((0, Reject(line=0, id=name, reason=f"the question is not in {questions}")) for name in found)
    if lacking:
        say(f"{lacking} questions have no line in {file} and are left out")


def _once(rows: Rows) -> Rows:
    """Rows whose ids were not met before; an id of an example may come once per role."""
    seen: set[tuple[str, str | None]] = set()
    for number, row in rows:
        key = (getattr(row, "id", None) or "", getattr(row, "role", None))
        if not isinstance(row, Reject) and key in seen:
            yield number, Reject(line=number, id=key[0], reason=f"the id {key[0]!r} was met before")
            continue
        if not isinstance(row, Reject):
            seen.add(key)
        yield number, row


class _Writer:
    """Writes records in a format, and what cannot be written to the file of rejects; nothing is published before all is done."""

    def __init__(self, output: str, target: str) -> None:
        self.output, self.name, self.target = output, target, FORMATS[target]
        self._started = False
        self.n_in = self.n_out = self.n_rejected = self.n_empty = self.n_unanswered = 0
        self._stack = ExitStack()

    def __enter__(self) -> "_Writer":
        if self.output == STREAM:
            self._file: BinaryIO = sys.stdout.buffer
            return self
        path = Path(self.output)
        self._staged, self._rejects = path.with_name(path.name + ".plain"), rejects_path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._stack.enter_context(self._staged.open("wb"))
            self._rejected = self._stack.enter_context(self._rejects.open("wb"))
        except OSError as error:
            raise InputError(f"cannot write {self.output}: {error.strerror or error}") from error
        return self

    def add(self, number: int, row: Record | Reject) -> None:
        """Write one record, or say why not."""
        self.n_in += 1
        if not isinstance(row, Reject):
            try:
                parts = self._parts(row)
            except ValueError as error:
                row = Reject(line=number, id=getattr(row, "id", None), reason=str(error))
        if isinstance(row, Reject):
            self.n_rejected += 1
            if self.output == STREAM:
                say(f"rejected: {row.id or f'line {row.line}'}: {row.reason}")
            else:
                self._rejected.write(encoder.encode(row) + b"\n")
            return
        before, between, _ = self.target.frame
        for part in parts:
            self._file.write((between if self._started else before) + part)
            self._started = True
        self.n_out += 1
        self.n_empty += not parts
        self.n_unanswered += bool(self.target.write) and isinstance(row, Prediction) and row.rollout.answer is None

    def _parts(self, row: Record) -> list[bytes]:
        if not isinstance(row, self.target.takes):
            raise ValueError(f"a {type(row).__name__}; {self.name} is made of {self.target.takes.__name__} records")
        if self.target.lines:
            return [line.encode() for line in self.target.lines(row)]
        return [encoder.encode(self.target.write(row) if self.target.write else row)]

    def __exit__(self, kind: type[BaseException] | None, *_details: object) -> None:
        before, _, after = self.target.frame
        if kind is None and (self._started or before):
            self._file.write(after if self._started else before + after)
        if self.output == STREAM:
            self._file.flush()
            return
        self._stack.close()
        if kind is not None:
            self._staged.unlink()
            self._rejects.unlink()
            return
        finish(self._staged, Path(self.output))
        if not self.n_rejected:
            self._rejects.unlink()
