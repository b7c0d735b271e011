"""The model card of a checkpoint: what it was made from, and how."""

from pathlib import Path
from typing import Any

import yaml

from dynamicrag_cli import __version__
from dynamicrag_cli.adapters.files.templates import render_card

CARD = "README.md"
PLOT = "training_loss.png"


def licence_of(model: str) -> str | None:
    """The licence that the card of a model folder states; None where there is no card or it states none."""
    card = Path(model) / CARD
    if not card.is_file():
        return None
    head, *rest = card.read_text(encoding="utf-8", errors="replace").split("\n---", 1)
    try:
        stated = yaml.safe_load(head.removeprefix("---")) if rest and head.startswith("---") else None
    except yaml.YAMLError:
        return None
    licence = stated.get("license") if isinstance(stated, dict) else None
    return str(licence) if licence else None


def write_card(folder: Path, name: str, base: str, manifest: dict[str, Any], templates: Path | None) -> None:
    """Write the card of a finished training into its folder.

    Args:
        folder: Where the checkpoint stands.
        name: What it is called, the name of its folder.
        base: The model that it started from, as the user named it.
        manifest: What the training writes into its manifest.
        templates: Template folder, None for the default one.
    """
    facts = {
        "name": name,
        "base": base,
        "licence": licence_of(base),
        "plot": PLOT if (folder / PLOT).exists() else None,
        "drag": __version__,
        "settings": {key: value for key, value in manifest["fingerprint"]["options"].items() if not isinstance(value, dict)},
        **manifest,
    }
    (folder / CARD).write_text(render_card(templates, facts), encoding="utf-8")
