"""From the reader's rewards on prefixes to the advantages of the actions.

After step t of T the policy has read n_t passages: t, or fewer if it stopped before. Its utility there is
u_t = R(first n_t passages) - c n_t, so a list that has ended keeps its utility to the end: stopping forgoes nothing but what
further passages would have added. v_t is the same for the reference's greedy list. An unknown reward is NaN, and every advantage
that depends on it becomes NaN: such steps are left out, not rewarded 0.
"""

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def prefix_lengths(n_chosen: int, n_steps: int) -> list[int]:
    """n_1..n_T: passages read after each of T steps by a list of `n_chosen`."""
    return [min(step, n_chosen) for step in range(1, n_steps + 1)]


def utilities(rewards: Sequence[float], lengths: Sequence[int], cost: float) -> Values:
    """u_t from R at each step (NaN where unknown) and n_t: reward minus `cost` per passage read, shape (T,)."""
    return np.asarray(rewards, dtype=np.float64) - cost * np.asarray(lengths, dtype=np.float64)


def discounted(deltas: Values, decay: float) -> Values:
    """A_t = delta_t + decay A_{t+1}: the sum of GAE (Schulman et al. 2016) with decay = gamma lambda; shape (T,)."""
    made = np.array(deltas, dtype=np.float64)
    for step in range(len(deltas) - 2, -1, -1):
        made[step] += _times(decay, made[step + 1])
    return made


def _times(factor: float, value: float) -> float:
    """Their product, but 0 for the factor 0: what does not depend on an unknown value is known."""
    return factor * value if factor else 0.0


def paper_advantages(utility: Values, baseline: Values, gamma: float, lam: float) -> Values:
    """RRPO's: GAE with reward u_t and value v_t, delta_t = u_t + gamma v_{t+1} - v_t and v_{T+1} = 0."""
    following = np.array([_times(gamma, value) for value in (*baseline[1:], 0.0)][: len(baseline)])
    return discounted(utility + following - baseline, gamma * lam)


def difference_advantages(utility: Values, baseline: Values, gamma: float, lam: float) -> Values:
    """Ours: delta_t = u_t - v_t, so that the reference's own list has no advantage; lambda = 0 leaves A_t = u_t - v_t."""
    return discounted(utility - baseline, gamma * lam)


ADVANTAGES: dict[str, Callable[[Values, Values, float, float], Values]] = {
    "difference": difference_advantages,
    "paper": paper_advantages,
}


class Window:
    """The last `size` advantages, by whose mean and deviation new ones are normalised."""

    def __init__(self, size: int, values: Sequence[float] = ()) -> None:
        self.values: deque[float] = deque(values, maxlen=size)

    def add(self, values: Sequence[float] | Values) -> None:
        """Take in new advantages; NaN is left out."""
        self.values.extend(float(value) for value in values if np.isfinite(value))

    def normalise(self, values: Values) -> Values:
        """(A - mean) / deviation over the window; all 0 where the window does not vary. NaN stays."""
        kept = np.asarray(self.values, dtype=np.float64)
        spread = float(kept.std()) if len(kept) else 0.0
        if spread < 1e-8:
            return np.asarray(values, dtype=np.float64) * 0.0
        return (np.asarray(values, dtype=np.float64) - float(kept.mean())) / spread
