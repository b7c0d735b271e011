"""LLaMA-Factory's registry of training files, `dataset_info.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dynamicrag_cli.core.errors import InputError


def dataset_info(stems: Sequence[str], *, ranking: bool) -> dict[str, Any]:
    """One entry per JSONL file: our field names for LLaMA-Factory's columns, the system turn kept as a system turn."""
    replies = {"chosen": "chosen", "rejected": "rejected"} if ranking else {"response": "assistant"}
    entry: dict[str, Any] = {"formatting": "alpaca", "columns": {"prompt": "user", "system": "system", **replies}}
    return {stem: {"file_name": f"{stem}.jsonl", **({"ranking": True} if ranking else {}), **entry} for stem in stems}


def known_datasets(data: Path) -> list[str]:
    """The training files that the registry of a data folder names.

    Raises:
        InputError: The folder is no data folder, or its registry is damaged.
    """
    registry = data / "dataset_info.json"
    if not registry.exists():
        raise InputError(f"{data}: no dataset_info.json; make the folder with drag build-bc or drag build-dpo")
    try:
        return list(json.loads(registry.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{registry}: not JSON ({error}); make the folder anew with --fresh") from None
