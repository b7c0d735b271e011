"""Means and paired differences over questions, with what chance alone could have made of them.

Intervals are percentile bootstraps (Efron & Tibshirani 1993), p-values paired randomisation tests (Noreen 1989): questions are
the sample, and nothing is assumed about how the scores are distributed.

A resample holds only what some question showed: of 20 right answers of 20 it would say "100 %, for sure". Where the range of a
score is known, an interval therefore leaves room for the share of questions unlike all of the sample that the sample cannot rule
out (the rule of three in its exact form, Hanley & Lippman-Hand 1983).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
PERMUTATIONS = 9999
LEVEL = 0.95
# Numbers held at a time while resampling.
_BATCH = 4_000_000
# Up to so many distinct values, a resample is drawn as the count of each.
_FEW = 1000
# Up to so many pairs, scipy tries all 2^n flips.
_EXACT = 13
_POWER = 0.8
# The lowest and the highest score of a question, and difference of two scores.
UNIT = (0.0, 1.0)
BOTH_WAYS = (-1.0, 1.0)

Span = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A mean over questions with its 95 % interval (percentile bootstrap, seeded); n is the number of questions."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference(Estimate):
    """A mean of paired differences.

    Attributes:
        p_value: Two-sided paired randomisation test that swapping the two systems at random changes nothing, in (0, 1].
        detectable: The smallest true difference that a sample with this size and spread finds four times out of five.
        better: Questions on which the first has more.
        worse: Questions on which it has less.
    """

    p_value: float
    detectable: float
    better: int
    worse: int


def estimate(
    values: Sequence[float] | NDArray[np.float64], seed: int = 0, level: float = LEVEL, span: Span | None = None
) -> Estimate:
    """The mean of per-question values with its interval; `span` are the lowest and the highest value that there can be.

    Without `span`, the interval of equal values is their mean.
    """
    sample = np.asarray(values, dtype=float)
    if not len(sample):
        return Estimate(math.nan, math.nan, math.nan, 0)
    low = mean = high = float(sample.mean())
    if np.ptp(sample) > 0:
        low, high = _bootstrap(sample, np.random.default_rng(seed), level)
    if span is not None:
        unseen = 1 - ((1 - level) / 2) ** (1 / len(sample))
        low = min(low, mean - unseen * (mean - span[0])) if sample.min() > span[0] else low
        high = max(high, mean + unseen * (span[1] - mean)) if sample.max() < span[1] else high
    return Estimate(mean, low, high, len(sample))


def _bootstrap(sample: NDArray[np.float64], rng: np.random.Generator, level: float) -> tuple[float, float]:
    """The interval of the mean.

    A resample of n values is a multinomial draw of how often each distinct value comes. Where there are few of those (EM has
    two), drawing the counts gives the same distribution as drawing n values, without touching n.
    """
    distinct, counts = np.unique(sample, return_counts=True)
    if len(distinct) <= _FEW and len(distinct) * 16 <= len(sample):
        drawn = rng.multinomial(len(sample), counts / len(sample), size=RESAMPLES)
        low, high = np.quantile(drawn @ distinct / len(sample), [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)
    from scipy.stats import bootstrap

    batch = max(1, min(RESAMPLES, _BATCH // len(sample)))
    interval = bootstrap(
        (sample,), np.mean, n_resamples=RESAMPLES, confidence_level=level, method="percentile", rng=rng, batch=batch
    ).confidence_interval
    return float(interval.low), float(interval.high)


def paired(
    one: Sequence[float], other: Sequence[float], seed: int = 0, level: float = LEVEL, span: Span | None = None
) -> Difference:
    """How much more `one` has than `other` on the same questions, value by value; both of shape (n,), `span` of a difference.

    Raises:
        ValueError: The two are not of one length, or empty.
    """
    if len(one) != len(other) or not len(one):
        raise ValueError(f"pairs need two equal, non-empty lists of values (got {len(one)} and {len(other)})")
    # Sums of thirds and the like differ in the last bit; that is no difference.
    differences = np.round(np.asarray(one, dtype=float) - np.asarray(other, dtype=float), 12)
    found = estimate(differences, seed, level, span)
    return Difference(
        mean=found.mean,
        low=found.low,
        high=found.high,
        n=found.n,
        p_value=_randomisation(differences, np.random.default_rng(seed)),
        detectable=_detectable(differences, level, span),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
    )


def _detectable(differences: NDArray[np.float64], level: float, span: Span | None) -> float:
    """The true difference that is found with 80 % power, by the normal approximation or, where that is more, by counting signs.

    Of few differing questions the spread says little. But the sign test needs at least `flips` of them, all in one direction.
    """
    n = len(differences)
    moved = np.abs(differences[differences != 0])
    size = float(moved.mean()) if len(moved) else span[1] if span else 0.0
    flips = math.ceil(math.log2(2 / (1 - level)))
    if n < flips:
        return size
    from scipy.special import betaincinv

    share = float(betaincinv(flips, n - flips + 1, _POWER))
    normal = NormalDist()
    errors = normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(_POWER)
    return max(errors * float(differences.std(ddof=1)) / math.sqrt(n), share * size)


def _randomisation(differences: NDArray[np.float64], rng: np.random.Generator) -> float:
    """Two-sided p-value of the sign-flip test; pairs without a difference cannot change its statistic and are left out."""
    moved = differences[differences != 0]
    if not len(moved):
        return 1.0
    from scipy.stats import binomtest, permutation_test

    sizes, counts = np.unique(np.abs(moved), return_counts=True)
    if len(sizes) == 1:
        # All flips have one size (EM): their number is binomial, and the test exact (McNemar's).
        return float(binomtest(int((moved > 0).sum()), len(moved)).pvalue)
    if len(moved) <= _EXACT:
        found = permutation_test((moved,), _mean, permutation_type="samples", vectorized=True, n_resamples=PERMUTATIONS, rng=rng)
        return float(found.pvalue)
    # The same test by random flips, all at once: scipy's loop over them takes minutes for ten thousand questions.
    sums = _flipped_by_size(sizes, counts, rng) if len(sizes) <= _FEW else _flipped(np.abs(moved), rng)
    extreme = np.abs(sums) >= abs(moved.sum()) * (1 - 1e-12)
    return float((extreme.sum() + 1) / (PERMUTATIONS + 1))


def _mean(sample: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    return np.asarray(np.mean(sample, axis=axis))


def _flipped_by_size(sizes: NDArray[np.float64], counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Sums under random signs, shape (PERMUTATIONS,): of `counts` equal sizes a binomial number is positive."""
    positive = rng.binomial(counts, 0.5, size=(PERMUTATIONS, len(counts)))
    return np.asarray((2 * positive - counts) @ sizes)


def _flipped(sizes: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Sums under random signs, shape (PERMUTATIONS,), one random bit per sign."""
    sums = []
    batch = max(1, _BATCH // len(sizes))
    for start in range(0, PERMUTATIONS, batch):
        rows = min(batch, PERMUTATIONS - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(rows * -(-len(sizes) // 8)), dtype=np.uint8).reshape(rows, -1), axis=1)
        sums.append(2 * (bits[:, : len(sizes)].astype(np.float32) @ sizes.astype(np.float32)) - sizes.sum())
    return np.concatenate(sums)
