"""Everything that `drag` reports to a person instead of a traceback, and the exit code of each.

DragError                1   a bug of ours (also any exception outside this tree)
|-- UsageError           2   a flag, a name or a pipeline file is wrong
|-- MissingExtraError    3   an optional dependency is not installed
|-- InputError           4   an input file is missing or invalid
|-- EngineError          5   an engine or a trainer failed after its retries
|-- TooManyRejectsError  6   the stage is done, but too many records were rejected
`-- InterruptedRunError  130 the run was stopped by Ctrl-C or SIGTERM; what it had finished is kept
"""

import difflib
from collections.abc import Iterable


class DragError(Exception):
    """An error with a message for people: what is wrong, where, and what to type."""

    exit_code = 1


class UsageError(DragError):
    """A flag, a name or a pipeline file is wrong."""

    exit_code = 2


class MissingExtraError(DragError):
    """An optional dependency is not installed, or fails to import."""

    exit_code = 3

    def __init__(self, what: str, extra: str, cause: BaseException) -> None:
        super().__init__(f"{what} needs the extra '{extra}' ({cause}).\nType: pip install 'dynamicrag-cli[{extra}]'")


class InputError(DragError):
    """An input file is missing or invalid."""

    exit_code = 4


class EngineError(DragError):
    """An engine or a trainer failed after its retries."""

    exit_code = 5


class TooManyRejectsError(DragError):
    """A stage is done, but more records were rejected than `--max-reject-rate` allows."""

    exit_code = 6


class InterruptedRunError(DragError):
    """The run was stopped by Ctrl-C or SIGTERM; what it had finished is kept."""

    exit_code = 130


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not in a table, with the nearest valid one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return UsageError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(names)}.")
