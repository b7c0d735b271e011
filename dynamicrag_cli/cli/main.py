"""The program `drag`: its commands, and the one place where errors become messages and exit codes."""

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from dynamicrag_cli import __version__
from dynamicrag_cli.cli import (
    audit,
    build_bc,
    build_dpo,
    check,
    convert,
    doctor,
    index,
    infer,
    merge,
    plan,
    report,
    rerank_teacher,
    retrieve,
    reward,
    sample,
    schema,
    show,
    train,
    train_reranker,
    train_rrpo,
    validate,
)
from dynamicrag_cli.cli import eval as evaluation
from dynamicrag_cli.cli.console import say
from dynamicrag_cli.cli.helping import Command, Group
from dynamicrag_cli.core.errors import DragError, InputError

HELP = """Train and run dynamic rerankers for RAG: an LLM that chooses which passages the generator reads, in which order and
how many.

Stages read and write JSONL; data goes to stdout or -o, messages to stderr. The pipeline trains twice: train sft behind build-bc,
train dpo behind build-dpo. To ask one question: drag infer --question TEXT --index DIR --model MODEL.
"""

app = typer.Typer(
    name="drag",
    cls=Group,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"auto_envvar_prefix": "DRAG", "help_option_names": ["-h", "--help"], "max_content_width": 110},
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Hold the options of `drag` itself."""


_COMMANDS: dict[str, Callable[..., Any]] = {
    "index": index.index,
    "retrieve": retrieve.retrieve,
    "rerank-teacher": rerank_teacher.rerank_teacher,
    "build-bc": build_bc.build_bc,
    "sample": sample.sample,
    "reward": reward.reward,
    "build-dpo": build_dpo.build_dpo,
    "audit": audit.audit,
    "infer": infer.infer,
    "merge": merge.merge,
    "eval": evaluation.eval_command,
    "report": report.report,
    "check": check.check,
    "validate": validate.validate,
    "schema": schema.schema,
    "convert": convert.convert,
    "show": show.show,
    "plan": plan.plan_command,
    "doctor": doctor.doctor,
}
for _name, _function in _COMMANDS.items():
    app.command(_name, cls=Command)(_function)
train.app.command("reranker", cls=Command)(train_reranker.reranker)
train.app.command("rrpo", cls=Command)(train_rrpo.rrpo)
app.add_typer(train.app, name="train")


def main() -> None:
    """Run `drag`; exit codes are those of `core.errors` (4 if the system refuses a file), and 130 after Ctrl-C or SIGTERM."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Data is UTF-8, whatever the locale; a text that it cannot say would end the program.
            stream.reconfigure(encoding="utf-8")
    # A scheduler that preempts a job sends SIGTERM: it is Ctrl-C from there, so that children end and finished work is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(standalone_mode=True)
    except DragError as error:
        say(f"error: {error}", style="red")
        sys.exit(error.exit_code)
    except OSError as error:
        # A full disk, a folder that nobody may write to: the system's word says it all. Libraries raise it without one.
        if error.strerror is None:
            raise
        say(f"error: {f'{error.filename}: ' if error.filename else ''}{error.strerror}", style="red")
        sys.exit(InputError.exit_code)
