"""Lists drawn without replacement from scores, with STOP as one more action (RRPO's policy and our stop).

A list of passages is drawn one by one: a_t ~ softmax over the scores z of the passages not yet taken (Plackett-Luce; Plackett
1975) and, where stopping is open, over the STOP score b_t as well. `b` depends only on t, the number of passages taken before:
what a question needs, the scores say, since a scorer that reads the question can move all its passages against STOP.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynamicrag_cli.core.errors import UsageError

STOP = -1
Scores = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Bounds:
    """How many passages a list has: at least `least`, at most `most`; STOP is open in between. Equal bounds leave no STOP."""

    least: int
    most: int

    @property
    def stops(self) -> bool:
        """Whether there is a STOP at all."""
        return self.least < self.most

    def steps(self, n_docs: int) -> int:
        """Steps of a whole list over `n_docs` candidates: passages that could be taken."""
        return min(self.most, n_docs)

    def open(self, n_taken: int, n_docs: int) -> bool:
        """Whether STOP is open after `n_taken` passages of `n_docs`; a list that can go no further ends by itself."""
        return self.stops and min(self.least, n_docs) <= n_taken < self.steps(n_docs)

    def __str__(self) -> str:
        return f"{self.least}:{self.most}" if self.stops else str(self.most)


def parse_bounds(text: str) -> Bounds:
    """Read `3` (always three passages, no STOP) or `0:5` (none to five, with STOP).

    Raises:
        UsageError: No such numbers, or the least above the most.
    """
    least, colon, most = text.strip().partition(":")
    if not least.isdecimal() or (colon and not most.isdecimal()):
        raise UsageError(f"k is a number of passages such as 3, or bounds with a stop between such as 0:5 (got {text!r})")
    bounds = Bounds(int(least), int(most or least))
    if bounds.least > bounds.most or bounds.most < 1:
        raise UsageError(f"k has a most of at least 1 and a least that is not above it, such as 0:5 (got {text!r})")
    return bounds


def stop_at(stop: Sequence[float] | Scores, n_taken: int) -> float:
    """The STOP score after `n_taken` passages; beyond those that were learned the last one goes on, and none is -inf."""
    return float(stop[min(n_taken, len(stop) - 1)]) if len(stop) else -np.inf


def balanced_stop(tables: Sequence[Scores], bounds: Bounds) -> list[float]:
    """STOP scores b_0..b_{most-1} to start from, at which every length from `least` to `most` is drawn equally often.

    So of the lists that hold n passages 1 / (most - n + 1) must stop, on average over the questions: b_n is where that mean of
    P(STOP) = sigmoid(b_n - log sum exp of the scores left) is reached, each question weighted by how often its lists get so far,
    with the n best passages taken. `tables` has the scores of a question, shape (n_docs,), each. No zero is asked of the scores
    (those of a listwise loss have none), and a constant added to all is added to b.
    """
    ordered = [np.sort(scores)[::-1] for scores in tables]
    going = np.ones(len(ordered))  # the share of each question's lists that get so far
    made: list[float] = []
    for n in range(bounds.most if bounds.stops else 0):
        kept = [place for place, scores in enumerate(ordered) if len(scores) > n]
        ordered, going = [ordered[place] for place in kept], going[kept]
        if not kept:
            return made + [made[-1] if made else 0.0] * (bounds.most - n)
        left = np.array([np.logaddexp.reduce(scores[n:]) for scores in ordered])
        made.append(_stop_of_share(left, going, 1 / (bounds.most - n + 1)))
        if n >= bounds.least:
            going = going * _sigmoid(left - made[-1])
    return made


def _stop_of_share(left: Scores, weights: Scores, share: float) -> float:
    """The b at which the weighted mean of sigmoid(b - left) is `share`, by bisection."""
    low, high = float(left.min()) - 20.0, float(left.max()) + 20.0
    for _ in range(80):
        middle = (low + high) / 2
        if np.average(_sigmoid(middle - left), weights=weights) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _sigmoid(values: Scores) -> Scores:
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))  # tanh does not overflow


def open_actions(n_docs: int, actions: Sequence[int], bounds: Bounds) -> Mask:
    """Which actions were open at each step of a list: shape (len(actions), n_docs + 1), the last column is STOP."""
    mask = np.ones((len(actions), n_docs + 1), dtype=bool)
    for step, action in enumerate(actions):
        mask[step, n_docs] = bounds.open(step, n_docs)
        if action != STOP:
            mask[step + 1 :, action] = False
    return mask


def log_probabilities(scores: Scores, stop: Sequence[float] | Scores, actions: Sequence[int], bounds: Bounds) -> Scores:
    """Log pi(a_t | a_1..a_{t-1}) of each action, shape (len(actions),); `scores` has shape (n_docs,), `stop` one per step."""
    n_docs, n_steps = len(scores), len(actions)
    stops = np.array([[stop_at(stop, step)] for step in range(n_steps)]).reshape(n_steps, 1)
    table = np.hstack([np.tile(scores, (n_steps, 1)), stops])
    table = np.where(open_actions(n_docs, actions, bounds), table, -np.inf)
    table = table - np.logaddexp.reduce(table, axis=1, keepdims=True)
    return np.array([table[step, action] for step, action in enumerate(actions)])  # STOP is -1, the last column


def draw(scores: Scores, stop: Sequence[float] | Scores, bounds: Bounds, rng: np.random.Generator) -> list[int]:
    """One list as actions (positions, perhaps STOP at the end): Gumbel noise is added to the scores and the largest taken."""
    n_docs = len(scores)
    left = np.append(np.asarray(scores, dtype=np.float64), 0.0)
    actions: list[int] = []
    while len(actions) < bounds.steps(n_docs):
        left[n_docs] = stop_at(stop, len(actions)) if bounds.open(len(actions), n_docs) else -np.inf
        action = int((left + rng.gumbel(size=n_docs + 1)).argmax())
        if action == n_docs:
            return [*actions, STOP]
        actions.append(action)
        left[action] = -np.inf
    return actions


def most_likely(scores: Scores, stop: Sequence[float] | Scores, bounds: Bounds, bias: float = 0.0) -> list[int]:
    """The greedy list as actions: by falling score, until STOP is likelier than going on.

    That is b_t + bias > log sum exp of the scores left, so P(STOP) > 1/2. (Against the best passage alone, many middling ones
    would stop a policy that mostly goes on.) Equal scores keep retrieval order.
    """
    order = sorted(range(len(scores)), key=lambda position: -scores[position])
    actions: list[int] = []
    for position in order[: bounds.steps(len(scores))]:
        rest = np.logaddexp.reduce(np.asarray(scores)[order[len(actions) :]])
        if bounds.open(len(actions), len(scores)) and stop_at(stop, len(actions)) + bias > rest:
            return [*actions, STOP]
        actions.append(position)
    return actions


def chosen(actions: Sequence[int]) -> tuple[int, ...]:
    """The positions that the actions take, without STOP."""
    return tuple(action for action in actions if action != STOP)
