"""Whether an output is what this call would make: its fingerprint, and what may stand where it goes."""

from pathlib import Path
from typing import Any

import typer

from dynamicrag_cli.adapters.files.manifest import identity, manifest_path, read_manifest, same
from dynamicrag_cli.cli.config import command_words
from dynamicrag_cli.cli.options import settings_of
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.records import SCHEMA_VERSION

# Options whose value is a model, an index or another path: their content counts, not their name.
_CONTENT = (
    *("model", "reader", "tokenizer", "index", "judge"),
    *("bertscore-model", "deepspeed", "selector-model", "against"),
)


def fingerprint(ctx: typer.Context, input_hash: str | None, templates_hash: str | None = None) -> dict[str, Any]:
    """What decides the result of this call: command, options, content of models and input, templates, schema."""
    settings = settings_of(ctx)
    for name in _CONTENT:
        if settings.get(name):
            value = settings[name]
            settings[name] = [identity(str(v)) for v in value] if isinstance(value, list) else identity(str(value))
    return {
        "command": " ".join(command_words(ctx)),
        "options": settings,
        "input": input_hash,
        "templates": templates_hash,
        "schema": SCHEMA_VERSION,
    }


def is_fresh(output: Path, wanted: dict[str, Any]) -> bool:
    """Whether a finished output of the same fingerprint exists; its manifest is then touched, so that make sees it as new."""
    if output.exists() and same(read_manifest(output).get("fingerprint"), wanted):
        output.touch()
        manifest_path(output).touch()
        return True
    return False


def check_folder_target(target: Path, kind: object) -> None:
    """Refuse an output folder whose content is not of this kind, before any work.

    Raises:
        UsageError: The target is a file, or a folder with files that are not an output of `kind` of ours.
    """
    if target.is_file():
        raise UsageError(f"{target} is a file; give -o the name of a folder")
    if target.is_dir() and any(target.iterdir()):
        try:
            manifest = read_manifest(target)
        except InputError:
            manifest = {}
        if "drag" not in manifest or manifest.get("kind") != kind:
            raise UsageError(f"{target} holds other files; give -o a new or empty folder")
