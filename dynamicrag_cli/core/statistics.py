"""Means with bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over questions with its 95 % bootstrap interval (percentile method, seeded); n is the number of questions."""

    mean: float
    low: float
    high: float
    n: int


def estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """The mean of per-question values with its interval; of fewer than two values the interval is the mean itself."""
    sample = np.asarray(values, dtype=float)
    mean = float(sample.mean()) if len(sample) else float("nan")
    if len(sample) < 2 or np.ptp(sample) == 0:
        return Estimate(mean, mean, mean, len(sample))
    from scipy.stats import bootstrap

    interval = bootstrap(
        (sample,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(seed), batch=100
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), len(sample))
