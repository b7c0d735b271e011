"""What all teachers share: how they are run, and batching by length."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TeacherSettings:
    """How a teacher runs; neither changes its scores."""

    device: str | None = None
    batch_size: int = 32


def in_length_order(texts: Sequence[str], batch_size: int, score: Callable[[list[str]], list[float]]) -> list[float]:
    """Score texts in batches of similar length, so that little is padded; returns values in the order of `texts`."""
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    values = [0.0] * len(texts)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        for index, value in zip(batch, score([texts[i] for i in batch]), strict=True):
            values[index] = value
    return values
