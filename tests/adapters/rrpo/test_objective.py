"""The loss on tensors: against the pure formulas, and its gradients against finite differences."""

import math

import numpy as np
import pytest
import torch

from dynamicrag_cli.adapters.rrpo.objective import clipped, cosine, divergence, log_probabilities
from dynamicrag_cli.core import policy
from dynamicrag_cli.core.policy import STOP, Bounds

LISTS = [([2, 0, 1], Bounds(3, 3)), ([1, STOP], Bounds(0, 3)), ([STOP], Bounds(0, 2)), ([3, 0, 2, 1], Bounds(2, 9))]
SCORES = (0.3, -1.2, 2.0, 0.9)
STOPS = (0.5, -0.4)


def tensor(*values: float, grad: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


@pytest.mark.parametrize(("actions", "bounds"), LISTS)
def test_log_probabilities_are_those_of_the_pure_function(actions: list[int], bounds: Bounds) -> None:
    expected = policy.log_probabilities(np.array(SCORES), STOPS, actions, bounds)
    made = log_probabilities(tensor(*SCORES), tensor(*STOPS), actions, bounds)
    assert made.tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    assert made.exp().sum() < len(actions)


def test_a_fixed_k_has_no_stop() -> None:
    made = log_probabilities(tensor(*SCORES), tensor(), [0, 1], Bounds(2, 2))
    assert made.tolist() == pytest.approx(policy.log_probabilities(np.array(SCORES), [], [0, 1], Bounds(2, 2)).tolist())


@pytest.mark.parametrize(("actions", "bounds"), LISTS)
def test_the_gradient_against_finite_differences(actions: list[int], bounds: Bounds) -> None:
    """Of the whole loss, with ratios inside and outside of the clip."""
    advantages = tensor(*np.linspace(-1, 2, len(actions)).tolist())
    old = tensor(*(log_probabilities(tensor(*SCORES), tensor(*STOPS), actions, bounds) - 0.07).tolist())

    def loss(scores: torch.Tensor, stops: torch.Tensor) -> torch.Tensor:
        new = log_probabilities(scores, stops, actions, bounds)
        return (-clipped(new, old, advantages, 0.2) + 0.1 * divergence(new, old)).mean()

    assert torch.autograd.gradcheck(loss, (tensor(*SCORES, grad=True), tensor(*STOPS, grad=True)), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "slope"),
    [
        (1.1, 1.0, 1.1, 1.1),
        (1.5, 1.0, 1.2, 0.0),  # far enough up: no more pull
        (0.5, 1.0, 0.5, 0.5),
        (0.5, -1.0, -0.8, 0.0),  # far enough down
        (1.5, -1.0, -1.5, -1.5),
    ],
)
def test_the_clip_on_both_sides(ratio: float, advantage: float, value: float, slope: float) -> None:
    new = tensor(math.log(ratio), grad=True)
    made = clipped(new, tensor(0.0), tensor(advantage), 0.2)
    made.sum().backward()
    assert made.tolist() == pytest.approx([value])
    assert new.grad.tolist() == pytest.approx([slope])


def test_the_divergence_is_never_negative_and_0_at_the_reference() -> None:
    new = torch.linspace(-5, -0.01, 50, dtype=torch.float64)
    assert divergence(new, new).abs().max() == 0
    assert (divergence(new, torch.full_like(new, -1.0)) >= 0).all()
    assert divergence(tensor(-1.0), tensor(-2.0)).item() == pytest.approx(math.exp(-1) + 1 - 1)


def test_the_divergence_is_kl_on_average() -> None:
    """Over all lists, weighted by the policy: the KL of the whole lists, summed step by step."""
    bounds, other = Bounds(1, 1), tensor(0.0, 0.0, 0.0, 0.0)
    new = torch.cat([log_probabilities(tensor(*SCORES), tensor(), [a], bounds) for a in range(4)])
    old = torch.cat([log_probabilities(other, tensor(), [a], bounds) for a in range(4)])
    assert (new.exp() * divergence(new, old)).sum().item() == pytest.approx((new.exp() * (new - old)).sum().item())


def test_the_learning_rate_rises_and_falls() -> None:
    made = [cosine(step, 10, 0.2) for step in range(10)]
    assert made[:3] == [0.5, 1.0, 1.0]
    assert made[2:] == sorted(made[2:], reverse=True)
    assert 0 < made[-1] < 0.1
    assert cosine(0, 1, 0.0) == 1.0
