"""LLaMA-Factory's registry of training files, `dataset_info.json`."""

from collections.abc import Sequence
from typing import Any


def dataset_info(stems: Sequence[str], *, ranking: bool) -> dict[str, Any]:
    """One entry per JSONL file: our field names for LLaMA-Factory's columns, the system turn kept as a system turn."""
    replies = {"chosen": "chosen", "rejected": "rejected"} if ranking else {"response": "assistant"}
    entry: dict[str, Any] = {"formatting": "alpaca", "columns": {"prompt": "user", "system": "system", **replies}}
    return {stem: {"file_name": f"{stem}.jsonl", **({"ranking": True} if ranking else {}), **entry} for stem in stems}
