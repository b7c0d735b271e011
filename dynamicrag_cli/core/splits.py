"""Who belongs to which split, and other choices that depend on (seed, record id) alone.

No global generator is ever drawn from, so neither order nor shards nor resuming can change a choice.
"""

import hashlib
import random

from dynamicrag_cli.core.metrics import normalize
from dynamicrag_cli.core.records import Question


def unit_hash(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone (SHA-256)."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def generator(*parts: object) -> random.Random:
    """A generator seeded by the parts alone."""
    return random.Random("\x1f".join(str(part) for part in parts))  # noqa: S311 - reproducible choices, not secrets


def split_of(question: Question, seed: int, dev_share: float) -> str:
    """`train` or `dev`: the question's own split, else by hash of (seed, normalised question)."""
    if question.split is not None:
        return question.split
    return "dev" if unit_hash("split", seed, normalize(question.question)) < dev_share else "train"


def training_part(question: Question, seed: int, dpo_share: float, group: str | None = None) -> str:
    """`sft` or `dpo`: the part of the training split; questions of one group, or else of one normalised text, fall together."""
    return "dpo" if unit_hash("part", seed, group or normalize(question.question)) < dpo_share else "sft"
