"""What could not be used: where it is kept, what is said of it, and when it is too much."""

from pathlib import Path

import typer

from dynamicrag_cli.adapters.files.jsonl import Reader
from dynamicrag_cli.cli.console import say
from dynamicrag_cli.core.errors import TooManyRejectsError
from dynamicrag_cli.core.records import Reject

# The file of rejects in an output folder.
REJECTS = "rejects.jsonl"


def rejects_path(output: Path) -> Path:
    """Where the rejects of an output file go: OUT.rejects.jsonl, without what OUT is packed in."""
    name = output.name
    for suffix in (".gz", ".zst", ".jsonl"):
        name = name.removesuffix(suffix)
    return output.with_name(f"{name}.rejects.jsonl")


def tell_rejects(count: int, where: Path) -> None:
    """Say how many there are, and the reason of the first: with a wrong file or option it is the reason of all."""
    if count:
        first = next(iter(Reader(str(where), Reject, unique=False)))
        say(f"  {count} rejected, with reasons: {where}\n  the first, line {first.line}: {first.reason}")


def check_rejects(ctx: typer.Context, counts: dict[str, int], where: Path | None = None) -> None:
    """Say by the exit code that more was rejected than is allowed; what was not is in the output all the same.

    Raises:
        TooManyRejectsError: It was.
    """
    n_in, n_rejected = counts["in"], counts["rejected"]
    if n_in and n_rejected / n_in > float(ctx.params.get("max_reject_rate", 0.01)):
        see = f"; see {where}" if where else ""
        raise TooManyRejectsError(f"{n_rejected} of {n_in} records were rejected, more than --max-reject-rate allows{see}")
