"""Muon against singular values, and against its own definition in double precision."""

from dataclasses import replace

import pytest
import torch

from training.errors import UserError
from training.muon import Muon
from training.networks import make_network
from training.optimizer import Optimizer
from training.recipe import RECIPES


def moved(weights: torch.Tensor, gradients: list[torch.Tensor], momentum: float, rate: float) -> torch.Tensor:
    parameter = torch.nn.Parameter(weights.clone(memory_format=torch.preserve_format))
    optimizer = Muon([{"params": [parameter], "lr": torch.tensor(rate), "momentum": momentum}], torch.float32)
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("shape", [(64, 24, 3, 3), (8, 64, 3, 3), (40, 2, 3, 3), (16, 16)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_an_update_is_nearly_orthogonal(shape: tuple[int, ...], memory: torch.memory_format) -> None:
    if len(shape) == 2 and memory is torch.channels_last:
        memory = torch.contiguous_format
    generator = torch.Generator().manual_seed(0)
    weights, gradient = (torch.randn(shape, generator=generator).to(memory_format=memory) for _ in range(2))
    scaled = weights * len(weights) ** 0.5 / weights.norm()
    update = (scaled - moved(weights, [gradient], 0.6, 0.1)) / 0.1
    values = torch.linalg.svdvals(update.flatten(1))
    # Three repetitions leave the smallest behind; the source speaks of 0.5 to 1.5.
    assert 0.6 < values.median() < 1.3
    assert values.max() < 1.4
    # It points where the gradient points.
    left, _, right = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
    assert torch.sum(update.flatten(1) * (left @ right)) > 0.7 * min(gradient.flatten(1).shape)


def test_the_velocity_is_nesterovs() -> None:
    """Orthogonalization forgets lengths, so two gradients tell by the direction how much of the first is left."""
    first, second = torch.diag(torch.tensor([1.0, 0.0])), torch.diag(torch.tensor([0.0, 1.0]))
    weights = torch.eye(2)
    alone, with_momentum = (moved(weights, [first, second], momentum, 0.1) for momentum in (0.0, 0.6))
    before = moved(weights, [first], 0.0, 0.1)
    scaled = before * 2**0.5 / before.norm()
    assert (scaled - alone)[0, 0].abs() < 1e-6
    assert (scaled - with_momentum)[0, 0] > 0.02


def test_weights_keep_their_norm() -> None:
    weights, gradient = torch.full((4, 9), 7.0), torch.zeros(4, 9)
    assert moved(weights, [gradient], 0.6, 0.1).norm().item() == pytest.approx(2.0)


def test_weight_decay_is_refused() -> None:
    filters, *others = RECIPES["fast"].groups
    recipe = replace(RECIPES["fast"], groups=(replace(filters, weight_decay=0.1), *others))
    with pytest.raises(UserError, match="leave the weight_decay of filters at 0"):
        Optimizer(make_network(recipe, 10), recipe, torch.device("cpu"), "fp32")
