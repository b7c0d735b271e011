"""Shared options: names are checked with the nearest valid one, and only what decides a result is in the fingerprint."""

import pytest
import typer

from dynamicrag_cli.cli import options
from dynamicrag_cli.cli.main import app
from dynamicrag_cli.core.selectors import parse_selector


def commands() -> dict[str, object]:
    """Every leaf command by its words."""
    found: dict[str, object] = {}

    def walk(command, words: tuple[str, ...]) -> None:
        for name, child in getattr(command, "commands", {}).items():
            walk(child, (*words, name))
        if not hasattr(command, "commands"):
            found[" ".join(words)] = command

    walk(typer.main.get_command(app), ())
    return found


def test_one_of_takes_a_name_or_tells_the_nearest() -> None:
    parse = options.one_of("retriever", ("bm25", "dense"))
    assert parse("dense") == "dense"
    with pytest.raises(typer.BadParameter, match=r"unknown retriever 'bm52'\. Did you mean 'bm25'\?"):
        parse("bm52")


def test_checked_keeps_the_text_and_refuses_what_cannot_be_parsed() -> None:
    check = options.checked(parse_selector)
    assert check("top-k:3") == "top-k:3"
    with pytest.raises(typer.BadParameter, match="at least 1"):
        check("top-k:0")


@pytest.mark.parametrize("name", commands())
def test_options_that_say_how_a_command_runs_are_not_in_its_fingerprint(name: str) -> None:
    command = commands()[name]
    running = {param.name for param in command.params if getattr(param, "rich_help_panel", None) == options.RUNNING}
    assert running <= {
        "chunk", "max_reject_rate", "fresh", "batch_size", "device", "encoder", "batch_tokens", "gpus", "config", "variant", "as_json", "reuse", "max_bad_share", "max_malformed_rate",
        "save_steps", "trainer", "dry_run", "check_prompts", "cache", "nodes", "launcher", "runner", "workers", "worker_gpus", "ray_address", "concurrency", "timeout_s",
    }  # fmt: skip
    # They would make a run that was interrupted on one machine unfit to be finished on another.
    how = {
        "chunk",
        "batch_size",
        "batch_tokens",
        "concurrency",
        "timeout_s",
        "device",
        "gpus",
        "max_reject_rate",
        "save_steps",
        "trainer",
    }
    sized = {"batch_size"} if name.startswith("train") else set()
    assert {param.name for param in command.params} & how - sized <= running
    context = typer.Context(command)
    context.params = {param.name: "value" for param in command.params}
    settings = options.settings_of(context)
    assert not {key.replace("-", "_") for key in settings} & (running | {"output", "help", "source", "templates"})
    for decisive in ("seed", "model", "threshold", "temperature", "weights", "selector", "limit", "cutoff", "learning_rate"):
        if any(param.name == decisive for param in command.params):
            assert decisive.replace("_", "-") in settings
