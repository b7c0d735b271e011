"""`drag check`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamicrag_cli.cli import config as configs
from dynamicrag_cli.cli.console import say
from dynamicrag_cli.core.errors import InputError


def check(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Pipeline file.", show_default=False)],
) -> None:
    """Check a pipeline file before anything starts: every section, key, value and variant; all problems are listed.

    Example: drag check pipelines/demo.yaml
    """
    problems: list[str] = []
    content = configs.load(file, problems)
    root = ctx.find_root()
    problems += [*_run_problems(content.get("run") or {}), *_variants_problems(content)]
    commands = dict(leaf_commands(root.command))
    for words, section in _sections(content, commands, ()):
        if isinstance(section, str):
            problems.append(section)
        else:
            problems += _section_problems(words, section, commands[words], ctx)
    if problems:
        raise InputError(f"{file}: {len(problems)} problem(s)\n" + "\n".join(f"  {problem}" for problem in problems))
    say(f"{file}: ok")


def leaf_commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every leaf command with its words."""
    children = getattr(command, "commands", None)
    if children is None:
        yield words, command
        return
    for name, child in children.items():
        yield from leaf_commands(child, (*words, name))


def _sections(content: dict[str, Any], commands: dict[tuple[str, ...], Any], words: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
    """Sections by command words; a problem line instead of a section where there is no such command."""
    for name, section in content.items():
        path = (*words, name)
        if path == ("run",):
            continue
        if path in commands and section is not None and not isinstance(section, dict):
            yield path, f"{'.'.join(path)}: expected a table of options, found {section!r}"
        elif path in commands:
            yield path, section or {}
        elif any(known[: len(path)] == path for known in commands) and isinstance(section, dict):
            yield from _sections(section, commands, path)
        else:
            known = {known[len(words)]: None for known in commands if known[: len(words)] == words}
            yield path, _unknown(f"section '{'.'.join(path)}'", name, [*known, *(["run"] if not words else [])])


def _unknown(what: str, name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    return f"unknown {what}." + (f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(sorted(known))}.")


def _run_problems(run: object) -> list[str]:
    if not isinstance(run, dict):
        return ["run: expected a table"]
    unknown = [_unknown(f"key 'run.{key}'", key, list(configs.RUN_KEYS)) for key in run if key not in configs.RUN_KEYS]
    return unknown + [
        f"run: the key '{key}' is missing ({configs.RUN_KEYS[key]})"
        for key in ("dir", "corpus", "questions", "model")
        if key not in run
    ]


def _variants_problems(content: dict[str, Any]) -> list[str]:
    run = content.get("run")
    problems = []
    for key, words in (("policies", ["train", "rrpo"]), ("rows", ["infer"])):
        _, variants = configs.split_variants(configs.section_of(content, words))
        names = str(run.get(key) or "").split() if isinstance(run, dict) else []
        what = f"{'.'.join(words)} variant"
        problems += [_unknown(f"{what} '{name}' in run.{key}", name, list(variants)) for name in names if name not in variants]
    return problems


def _section_problems(words: tuple[str, ...], section: dict[str, Any], command: Any, ctx: typer.Context) -> list[str]:
    where = ".".join(words)
    own, variants = configs.split_variants(section)
    problems = _values(own, command, where, ctx)
    for name, keys in variants.items():
        problems += _values(keys, command, f"{where}.{name}", ctx) + _missing({**own, **keys}, command, words, name)
    return problems if variants else problems + _missing(own, command, words)


def _missing(keys: dict[str, Any], command: Any, words: tuple[str, ...], *variant: str) -> list[str]:
    """Options that a call cannot do without, but for those that the Makefile gives (inputs, indexes, data, outputs)."""
    given = {configs.dashed(key) for key in keys} | {"index", "data", "gold"}
    wanted = [
        key
        for key, param in configs.options_of(command).items()
        if param.required and param.param_type_name == "option" and key not in given
    ]
    return [
        f"{'.'.join((*words, *variant))}: the key '{key}' is missing"
        for key in wanted
        if "_".join(("DRAG", *words, key)).upper().replace("-", "_") not in os.environ
    ]


def _values(keys: dict[str, Any], command: Any, where: str, ctx: typer.Context) -> list[str]:
    """Problems of keys and of values, which are converted as on the command line."""
    problems = configs.key_problems(keys, command, where)
    known = configs.options_of(command)
    for key, value in keys.items():
        param = known.get(configs.dashed(key))
        if param is None:
            continue
        try:
            param.process_value(ctx, configs.as_given(param, value))
        except typer.BadParameter as error:
            problems.append(f"{where}.{key}: {error.message}")
        except (TypeError, ValueError, AttributeError) as error:
            problems.append(f"{where}.{key}: {value!r} is no value for this option ({error})")
    return problems
