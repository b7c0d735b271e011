"""RRPO's loss on torch tensors: log-probabilities of drawn lists, PPO's clip, the KL estimator, the learning rate."""

import math
from collections.abc import Sequence

import torch

from dynamicrag_cli.core.policy import STOP, Bounds, open_actions


def log_probabilities(scores: torch.Tensor, stop: torch.Tensor, actions: Sequence[int], bounds: Bounds) -> torch.Tensor:
    """`core.policy.log_probabilities` with gradients: `scores` (n_docs,), `stop` (steps,) or empty, result (len(actions),)."""
    n_docs, n_steps = len(scores), len(actions)
    stops = stop[torch.arange(n_steps).clamp(max=len(stop) - 1)] if len(stop) else scores.new_zeros(n_steps)
    table = torch.cat([scores.expand(n_steps, n_docs), stops[:, None]], dim=1)
    closed = ~torch.from_numpy(open_actions(n_docs, actions, bounds)).to(table.device)
    places = torch.tensor([n_docs if action == STOP else action for action in actions], device=table.device)
    return table.masked_fill(closed, -torch.inf).log_softmax(dim=1).gather(1, places[:, None])[:, 0]


def clipped(new: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, clip: float) -> torch.Tensor:
    """PPO's surrogate per action (Schulman et al. 2017): min(rho A, clip(rho, 1 - e, 1 + e) A), rho = exp(new - old)."""
    ratio = (new - old).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def divergence(new: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """KL(pi || pi_ref) per action by r - log r - 1 with r = pi_ref / pi (Schulman's k3): at least 0, and 0 at the reference."""
    log_ratio = reference - new
    return log_ratio.exp() - log_ratio - 1


def cosine(step: int, total: int, warmup: float) -> float:
    """Factor of the learning rate in [0, 1] at step 0..total - 1: linear rise over `warmup` of the steps, then half a cosine."""
    rising = math.ceil(total * warmup)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(total - rising, 1)))
