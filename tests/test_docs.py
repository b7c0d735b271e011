"""Every line that calls `drag` or make in the README and the docs names commands, options and targets that exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from dynamicrag_cli.cli.main import app
from tests.conftest import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def lines_of(page: Path, program: str) -> list[str]:
    """The calls of a program in fenced blocks and in code within a sentence, each from its name to its end."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    code = re.sub(r"#.*", "", "\n".join([*blocks, *inline]))
    found = re.findall(rf"(?:^|[\s(]){program} [^\n]*", code, re.MULTILINE)
    return [re.split(r"[;&|]|\)$", call.strip(" \n("))[0].strip() for call in found]


CALLS = [(page.name, call) for page in PAGES for call in lines_of(page, "drag")]


def test_the_calls_are_found() -> None:
    assert len(CALLS) > 100
    assert sum(page == "README.md" for page, _ in CALLS) > 25


@pytest.mark.parametrize(("page", "call"), CALLS, ids=[f"{page}: {call}" for page, call in CALLS])
def test_a_call_of_drag_names_what_there_is(page: str, call: str) -> None:
    words = shlex.split(call.replace("…", "").replace("...", ""))[1:]
    command = typer.main.get_command(app)
    context = command.make_context("drag", [], resilient_parsing=True)
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        if words[0] == "COMMAND":  # Any of them.
            return
        assert words[0] in command.commands, f"no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    known = {flag for param in command.get_params(context) for flag in (*param.opts, *param.secondary_opts)}
    assert {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)} <= known


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_a_call_of_make_names_targets(page: Path) -> None:
    words = {word for call in lines_of(page, "make") for word in shlex.split(call)[1:] if re.fullmatch(r"[a-z][a-z-]*", word)}
    assert words <= TARGETS
