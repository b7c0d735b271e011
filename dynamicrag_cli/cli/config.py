"""Pipeline files: one YAML per experiment, a section per command, keys = option names.

A flag beats an environment variable (DRAG_COMMAND_OPTION), which beats the file, which beats the default. `${name}` in a value
stands for a key of the file's `run` section or for an environment variable. A section may hold named variants
(`infer: {k3: {selector: "top-k:3"}}`); `--variant k3` applies one on top of the section's own keys.
"""

import difflib
import os
import string
from pathlib import Path
from typing import Any

import typer
import yaml

from dynamicrag_cli.core.errors import InputError, UsageError

RUN_KEYS = {
    "dir": "folder of the run's files",
    "corpus": "passages, JSONL",
    "questions": "questions, JSONL",
    "model": "the language model that is trained, a folder or hub id",
    "encoder": "the text encoder, a folder or hub id",
    "policies": "names of the train.rrpo variants to train, into rrpo-NAME",
    "rows": "names of the infer variants to compare, in the order of the table",
}


def load(path: Path, problems: list[str] | None = None) -> dict[str, Any]:
    """The file as a dictionary, `${…}` filled in: the run section from the environment, all others from both.

    Args:
        path: The pipeline file.
        problems: If given, values that cannot be filled in are described there and left as they are.

    Raises:
        InputError: The file is missing or no YAML table.
        UsageError: A `${name}` is neither in the run section nor in the environment (and `problems` is None).
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the pipeline file {path}: {error}") from error
    if not isinstance(raw, dict):
        raise InputError(f"{path}: expected a table of sections, one per command")
    found: list[str] = []
    run = raw.get("run")
    if isinstance(run, dict):
        # A run key may name one that stands above it.
        above: dict[str, Any] = {}
        for key, value in run.items():
            above[str(key)] = _fill(value, {**os.environ, **{k: str(v) for k, v in above.items()}}, f"run.{key}", found)
        run = above
    names = {**os.environ, **({key: str(value) for key, value in run.items()} if isinstance(run, dict) else {})}
    filled = {str(key): run if key == "run" else _fill(part, names, str(key), found) for key, part in raw.items()}
    if problems is None and found:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in found))
    if problems is not None:
        problems += found
    return filled


def _fill(value: object, names: dict[str, str], where: str, problems: list[str]) -> object:
    if isinstance(value, dict):
        return {str(key): _fill(part, names, f"{where}.{key}", problems) for key, part in value.items()}
    if isinstance(value, list):
        return [_fill(part, names, where, problems) for part in value]
    if isinstance(value, str) and "$" in value:
        try:
            return string.Template(value).substitute(names)
        except KeyError as error:
            problems.append(f"{where}: ${{{error.args[0]}}} is neither a key of the run section nor set in the environment")
        except ValueError as error:
            problems.append(f"{where}: {error}; write $$ for a dollar sign")
    return value


def section_of(content: dict[str, Any], command: list[str]) -> dict[str, Any]:
    """The section of a command (`train sft` is `train: {sft: …}`), empty if the file has none."""
    section: Any = content
    for word in command:
        section = (section or {}).get(word) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else {}


def command_words(ctx: typer.Context) -> list[str]:
    """The words of the running command without the program's name: `train sft` gives ["train", "sft"]."""
    words: list[str] = []
    step: Any = ctx
    while step.parent is not None:
        words.insert(0, str(step.info_name))
        step = step.parent
    return words


def dashed(key: str) -> str:
    """A key of a file as it is on the command line; underscores are taken too."""
    return key.replace("_", "-")


def option_key(param: Any) -> str:
    """The one name of an option, in files and manifests too: its flag without the dashes in front; an argument has its own."""
    flags = [flag for flag in param.opts if flag.startswith("--")]
    return flags[0].removeprefix("--") if flags else dashed(param.name)


def options_of(command: Any) -> dict[str, Any]:
    """The options and arguments of a command that a file may set, by key."""
    reserved = {"help", "config", "variant", "output", "fresh", "dry_run"}
    return {option_key(param): param for param in command.params if param.name not in reserved}


def split_variants(section: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A section's own keys, and its variants (the keys that hold a table)."""
    own = {key: value for key, value in section.items() if not isinstance(value, dict)}
    return own, {key: value for key, value in section.items() if isinstance(value, dict)}


def key_problems(keys: dict[str, Any], command: Any, where: str) -> list[str]:
    """One line for every key that is no option of the command, with the nearest that is."""
    known = options_of(command)
    problems = []
    for key in keys:
        if dashed(key) not in known:
            near = difflib.get_close_matches(dashed(key), known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(sorted(known))}."
            problems.append(f"{where}: unknown key '{key}'.{hint}")
    return problems


def apply(ctx: typer.Context, config: Path | None, variant: str | None) -> None:
    """Make a section (and a variant of it) the defaults of the command that is being parsed.

    Raises:
        UsageError: A key is no option of the command, or the section has no such variant.
    """
    if config is None:
        return
    words = command_words(ctx)
    own, variants = split_variants(section_of(load(config), words))
    where = f"{config}: {'.'.join(words)}"
    if variant is not None:
        if variant not in variants:
            near = difflib.get_close_matches(variant, variants, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise UsageError(f"{where} has no variant '{variant}'.{hint} Known: {', '.join(variants) or 'none'}.")
        own = {**own, **variants[variant]}
    problems = key_problems(own, ctx.command, where)
    if problems:
        raise UsageError("\n".join(problems))
    known = options_of(ctx.command)
    params = {known[dashed(key)]: value for key, value in own.items()}
    ctx.default_map = {param.name: as_given(param, value) for param, value in params.items()}


def as_given(param: Any, value: object) -> object:
    """A value of a file; one word is enough for an option that may be repeated."""
    return [value] if getattr(param, "multiple", False) and isinstance(value, str) else value


def on_config(ctx: typer.Context, value: Path | None) -> Path | None:
    """Callback of `--config`; whichever of `--config` and `--variant` is read last applies both."""
    ctx.meta["drag.config"] = value
    if value is None and ctx.meta.get("drag.variant") is not None:
        raise UsageError("--variant names a part of a pipeline file; give the file with --config")
    apply(ctx, value, ctx.meta.get("drag.variant"))
    return value


def on_variant(ctx: typer.Context, value: str | None) -> str | None:
    """Callback of `--variant`."""
    ctx.meta["drag.variant"] = value
    if value is not None:
        apply(ctx, ctx.meta.get("drag.config"), value)
    return value
