"""What people see: one console on stderr, progress bars, tables. Data and JSON go to stdout and nowhere else.

Text of a corpus or a model may hold what a terminal obeys (colours, window titles, a cursor that moves). Whatever is printed goes
through `printable`, `one_line` or `json_text`, and square brackets are never markup.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from dynamicrag_cli.core.inspection import CONTROL

# rich respects NO_COLOR and falls back to plain text where stderr is no terminal.
err = Console(stderr=True, highlight=False, markup=False, emoji=False)
# Wider than rich's own guess for a pipe: what is read there has no edge.
_PIPE_WIDTH = 120
_MIN_WIDTH = 80


def printable(text: str) -> str:
    """The text without control characters, so that a terminal shows it and obeys nothing; line ends and tabs stay.

    Only these characters go: what a model would read of an escape sequence stays in sight.
    """
    return CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str) -> str:
    """`printable`, with all white space as single spaces."""
    return " ".join(printable(text).split())


def json_text(document: object, *, indented: bool = False) -> str:
    """A record or a document as JSON that a terminal does not obey: control characters stand in it as escapes."""
    content = msgspec.json.encode(document)
    text = (msgspec.json.format(content, indent=2) if indented else content).decode()
    return CONTROL.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def say(message: str, style: str | None = None) -> None:
    """A line for people; square brackets in it are text, not markup."""
    err.print(printable(message), soft_wrap=True, style=style)


def show_table(table: Table) -> None:
    """A table for people; wider than the terminal it is wrapped by it, never cropped."""
    width = max(err.width, err.measure(table, options=err.options.update(max_width=1000)).maximum)
    # rich never prints wider than its console, so a wide table gets a console of its own.
    console = Console(
        stderr=True,
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=err.is_terminal,
        no_color=err.no_color,
    )
    console.print(table)


def show_data(view: RenderableType) -> None:
    """A view of data for people, on stdout; a terminal that is too narrow for tables wraps it."""
    console = Console(highlight=False, markup=False, emoji=False)
    known = console.is_terminal or "COLUMNS" in os.environ
    console.width = max(console.width, _MIN_WIDTH) if known else _PIPE_WIDTH
    console.print(view)


def write_stdout(text: str) -> None:
    """Data for a program: one line or document on stdout."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


class _Rate(ProgressColumn):
    """Records per second, or seconds per record when slow."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("-/s", style="progress.data.speed")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each", style="progress.data.speed")


@contextmanager
def progress(label: str, total: int | None) -> Iterator["Bar"]:
    """A progress bar with rate and time left; where stderr is no terminal, a plain line now and then."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        yield Bar(bars, label, total)


class Bar:
    """One running bar."""

    def __init__(self, bars: Progress, label: str, total: int | None) -> None:
        self.bars, self.label, self.total = bars, label, total
        self.task = bars.add_task(label, total=total, note="")
        self.done = 0
        self._told = 0

    def advance(self, count: int, note: str = "") -> None:
        """Count records as done; `note` stands at the end of the line."""
        self.done += count
        self.bars.update(self.task, advance=count, note=note)
        step = max((self.total or 0) // 10, 1)
        if not err.is_terminal and self.total and self.done < self.total and self.done - self._told >= step:
            self._told = self.done
            say(f"{self.label}: {self.done}/{self.total} {note}".rstrip())

    def set_total(self, total: int) -> None:
        """Set the total once it is known."""
        self.total = total
        self.bars.update(self.task, total=total)
