"""`drag validate`."""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Annotated, Any

import typer
from rich.table import Table

from dynamicrag_cli.adapters.files.jsonl import lines
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import json_text, one_line, printable, say, show_table, write_stdout
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.inspection import Inspector, Problem, guess_kind
from dynamicrag_cli.core.records import KINDS, Record

Rows = Iterator[tuple[int, bytes]]
# Lines that the kind of record is guessed from.
_HEAD = 20
# Values of a field, or names of unknown fields, that the summary names.
_NAMED = 10


def validate(
    file: opt.DataFile,
    kind: opt.RecordKind = None,
    max_problems: Annotated[int, typer.Option(min=0, help="Problems to list; the others are counted.")] = 50,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 4 for warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of lines.")] = False,
) -> None:
    """List everything that is wrong with a file of records, and count what is in it.

    An error is a line that every stage would reject; the exit code is then 4. A warning is about a line that can be used, but
    perhaps not as it was meant: no candidates, gold ids that are not among them, no answers, control characters. Rules between
    fields are looked at once every field is right.

    Example: drag validate candidates.jsonl --as RetrievedQuestion
    """
    damage: list[str] = []
    record_type, rows = identify(file, until_damage(file, damage), kind)
    inspector = Inspector(record_type)
    listed: list[Problem] = []
    for number, line in rows:
        for problem in inspector.look(number, line):
            if len(listed) < max_problems:
                listed.append(problem)
                if not as_json:
                    write_stdout(_told(problem))
    if damage:
        inspector.sorts["error", "damaged file", ""] += 1
        listed.append(Problem(line=0, id=None, field="", sort="damaged file", reason=damage[0], severity="error"))
        if not as_json:
            write_stdout(_told(listed[-1]))
    _summarize(inspector, len(listed), max_problems)
    document = _document(file, inspector, listed, strict=strict)
    if as_json:
        write_stdout(json_text(document, indented=True))
    found = f"{document['errors']} error(s), {document['warnings']} warning(s)"
    if not document["ok"]:
        raise InputError(f"{file}: {found}")
    say(f"{file}: ok" + (f", {found}" if document["warnings"] else ""))


def identify(file: str, rows: Rows, name: str | None) -> tuple[type[Record], Rows]:
    """The record type that is named, or that the first lines look like, and all lines.

    Raises:
        InputError: The lines look like no record.
    """
    head = list(islice(rows, _HEAD))
    if name is not None:
        return KINDS[name], chain(head, rows)
    if not head:
        raise InputError(f"{file}: holds no line")
    kind = guess_kind(line for _, line in head)
    if kind is None:
        raise InputError(
            f"{file}: the first lines look like no record; expected JSON lines, one object with a record's fields per line.\n"
            "Name the record with --as RECORD (drag schema lists them)."
        )
    say(f"{file}: read as {kind.__name__}, guessed from the fields of the first lines; --as RECORD names another")
    return kind, chain(head, rows)


def until_damage(file: str, damage: list[str]) -> Rows:
    """The lines of a file; if it is cut or damaged after some of them, that is told in `damage`."""
    started = False
    try:
        for row in lines(file):
            started = True
            yield row
    except InputError as error:
        if not started:
            raise
        damage.append(str(error))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from error


def _told(problem: Problem) -> str:
    if not problem.line:
        return one_line(f"{problem.severity}: {problem.reason}")
    name = f" ({problem.id})" if problem.id is not None else ""
    field = f" {problem.field}" if problem.field else ""
    return one_line(f"{problem.severity}: line {problem.line}{name}{field}: {problem.reason}")


def _counted(inspector: Inspector, severity: str) -> int:
    return sum(count for (level, _, _), count in inspector.sorts.items() if level == severity)


def _document(file: str, inspector: Inspector, listed: list[Problem], *, strict: bool) -> dict[str, Any]:
    errors, warnings = _counted(inspector, "error"), _counted(inspector, "warning")
    return {
        "file": printable(file),
        "kind": inspector.kind.__name__,
        "ok": not errors and not (strict and warnings),
        "lines": inspector.n_lines,
        "records": inspector.n_records,
        "duplicates": inspector.n_duplicates,
        "errors": errors,
        "warnings": warnings,
        "counts": [
            {"severity": severity, "sort": sort, "field": field, "count": count}
            for (severity, sort, field), count in sorted(inspector.sorts.items(), key=_by_weight)
        ],
        "moved_to_meta": dict(inspector.strange),
        "by": {group: dict(values) for group, values in inspector.groups.items()},
        "problems": listed,
        "not_listed": errors + warnings - len(listed),
    }


def _by_weight(item: tuple[tuple[str, str, str], int]) -> tuple[str, int, str, str]:
    """Errors first, and what is frequent first among them."""
    (severity, sort, field), count = item
    return severity, -count, sort, field


def _summarize(inspector: Inspector, n_listed: int, max_problems: int) -> None:
    total = sum(inspector.sorts.values())
    if total > n_listed:
        say(f"{total - n_listed} more problems are not listed (--max-problems {max_problems})")
    if total:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for title in ("", "problem", "field"):
            table.add_column(title)
        table.add_column("count", justify="right")
        for (severity, sort, field), count in sorted(inspector.sorts.items(), key=_by_weight):
            table.add_row(severity, sort, one_line(field), str(count), style="red" if severity == "error" else "yellow")
        show_table(table)
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_row(f"{inspector.kind.__name__} records", f"{inspector.n_records} usable of {inspector.n_lines} lines")
    if inspector.n_duplicates:
        facts.add_row("duplicate ids", str(inspector.n_duplicates))
    if inspector.strange:
        facts.add_row("unknown fields, kept in meta", _named(inspector.strange))
    for group, values in inspector.groups.items():
        facts.add_row(f"by {group}", _named(values))
    show_table(facts)


def _named(counts: dict[str, int]) -> str:
    """The most frequent names with their counts."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = f" and {len(ranked) - _NAMED} more" if len(ranked) > _NAMED else ""
    return one_line(", ".join(f"{name} ({count})" for name, count in ranked[:_NAMED])) + rest
