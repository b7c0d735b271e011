"""Finding and loading the template folder: prompts and LLaMA-Factory settings are files, never Python."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.prompts import PromptSet

_PACKAGE = Path(__file__).resolve().parents[2]


def default_folder() -> Path:
    """The templates that ship with `drag`: inside an installed wheel, or at the top of a checkout."""
    packaged = _PACKAGE / "templates"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "templates"


def load_prompts(folder: Path | None, control_tokens: frozenset[str] = frozenset()) -> PromptSet:
    """The prompts of a template folder; a file that the folder lacks is taken from the default one.

    Raises:
        InputError: The folder does not exist, or its rules.yaml is not a table of sentences.
    """
    sources, rules = {}, {}
    for place in [default_folder(), *([folder] if folder else [])]:
        prompts = place / "prompts"
        if not prompts.is_dir():
            raise InputError(f"{place}: not a template folder (it has no folder 'prompts')")
        sources.update({file.name: file.read_text(encoding="utf-8") for file in sorted(prompts.glob("*.jinja"))})
        if (prompts / "rules.yaml").exists():
            rules.update(_rules(prompts / "rules.yaml"))
    return PromptSet(sources=sources, rules=rules, control_tokens=control_tokens)


def _rules(path: Path) -> dict[str, str]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: {error}") from error
    if not isinstance(loaded, dict) or not all(isinstance(rule, str) for rule in loaded.values()):
        raise InputError(f"{path}: expected a table of rule names and sentences")
    return {str(name): rule for name, rule in loaded.items()}


def prompts_hash(prompts: PromptSet) -> str:
    """SHA-256 of all prompt texts and of the control tokens that they are guarded against."""
    parts = [*sorted(prompts.sources.items()), *sorted(prompts.rules.items()), *sorted(prompts.control_tokens)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def render_training(folder: Path | None, name: str, slots: dict[str, object]) -> str:
    """The LLaMA-Factory YAML `name` of the template folder, filled."""
    return _environment(folder, "llamafactory", _yaml_scalar).get_template(f"{name}.yaml.jinja").render(slots)


def render_card(folder: Path | None, facts: dict[str, object]) -> str:
    """The model card of the template folder, filled."""
    return _environment(folder, "", lambda value: value).get_template("model_card.md.jinja").render(facts)


def _environment(folder: Path | None, part: str, finalize: Callable[[object], object]) -> Environment:
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder}: no such template folder")
    places = [str(place / part) for place in ([folder] if folder else []) + [default_folder()]]
    return Environment(
        loader=FileSystemLoader(places),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML and Markdown, not HTML
        finalize=finalize,
    )


def _yaml_scalar(value: object) -> object:
    """Booleans and floats as YAML 1.1 reads them: `1e-05` would be a string there."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:e}" if isinstance(value, float) and "e" in repr(value) else value
