"""`drag doctor`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dynamicrag_cli.adapters import machine
from dynamicrag_cli.adapters.machine import Fact
from dynamicrag_cli.cli.console import say, show_table, write_stdout
from dynamicrag_cli.cli.needs import Needs, read_needs
from dynamicrag_cli.core.errors import MissingExtraError

_STYLES = {"ok": "green", "later": "yellow", "missing": "", "old": "red", "broken": "red"}


def doctor(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Look also for all that this pipeline file names.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as one JSON document on stdout.")] = False,
) -> None:
    """Show what this machine has and lacks, and what to type for what it lacks.

    Exit code 3 if something is lacking that the base, or the pipeline file, needs. Packages are looked up, not imported; only
    torch is, to ask it for GPUs.

    Example: drag doctor --config pipelines/demo.yaml
    """
    needs = read_needs(config, ctx.find_root().command) if config else Needs()
    facts = [
        *machine.host(Path()),
        machine.faiss_build(),
        *machine.accelerators(cuda_needed=needs.cuda),
        *machine.packages(needs.extras),
        machine.trainer(needed=needs.trainer, also=needs.train_extras),
        *needs.facts,
    ]
    lacking = [fact for fact in facts if fact.lacking]
    show_table(_table(facts))
    _remedies(facts)
    if as_json:
        write_stdout(json.dumps(_document(facts, config), ensure_ascii=False, indent=2))
    if lacking:
        asked = f"{config} needs" if config else "the base needs"
        say(f"lacking, and {asked} it: " + ", ".join(f"{fact.part} {fact.name}" for fact in lacking))
        raise typer.Exit(MissingExtraError.exit_code)


def _table(facts: list[Fact]) -> Table:
    table = Table("", "", "state", "found", show_edge=False)
    part = ""
    for fact in facts:
        if part and fact.part != part:
            table.add_section()
        style = "bold red" if fact.lacking else _STYLES[fact.state]
        # Text: square brackets in names and versions are no markup.
        table.add_row("" if fact.part == part else fact.part, Text(fact.name), Text(fact.state, style=style), Text(fact.found))
        part = fact.part
    return table


def _remedies(facts: list[Fact]) -> None:
    """What to type, below the table so that it can be copied; first what is needed."""
    for fact in sorted(facts, key=lambda fact: not fact.lacking):
        if fact.remedy and fact.part != "run":
            say(f"{'NEEDED ' if fact.lacking else ''}{fact.name}: {fact.remedy}")
    following = next((fact for fact in facts if fact.part == "run" and fact.remedy), None)
    if following:
        say(f"next: {following.remedy}")


def _document(facts: list[Fact], config: Path | None) -> dict[str, Any]:
    return {
        "ok": not any(fact.lacking for fact in facts),
        "config": str(config) if config else None,
        "facts": [asdict(fact) | {"lacking": fact.lacking} for fact in facts],
    }
