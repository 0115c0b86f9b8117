"""The weights that a training starts from."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from training.local_response_norm import LocalResponseNorm
from training.recipe import RECIPES
from training.recipe_parts import TutorialArchitecture
from training.tutorial_network import TutorialNetwork

RECIPE = RECIPES["tutorial"]
TRUNCATED = 0.8796  # standard deviation of a normal distribution cut off at two of its own


def fresh(seed: int) -> TutorialNetwork:
    network = TutorialNetwork(RECIPE, TutorialArchitecture(), classes=10)
    return network.initialize(torch.Generator().manual_seed(seed), torch.empty(0, 3, 32, 32))


@pytest.mark.parametrize(
    ("layer", "std", "bias"),
    [
        ("conv1", 1e-4, 0.0),
        ("conv2", 1e-4, 0.1),
        ("local3", 0.04, 0.1),
        ("local4", 0.04, 0.1),
        ("softmax_linear", 1 / 192, 0.0),
    ],
)
def test_initial_weights_are_truncated_normals_and_biases_constants(layer: str, std: float, bias: float) -> None:
    parameters = dict(fresh(seed=1).named_parameters())
    weights = parameters[f"{layer}.weight"]
    assert weights.abs().max().item() <= 2 * std * (1 + 1e-6)
    assert weights.std().item() == pytest.approx(TRUNCATED * std, rel=0.05)
    assert weights.mean().item() == pytest.approx(0, abs=0.1 * std)
    assert torch.equal(parameters[f"{layer}.bias"], torch.full_like(parameters[f"{layer}.bias"], bias))


def test_normalization_stays_in_bfloat16_on_a_gpu() -> None:
    # Pretended tensors show which types CUDA's autocast would choose, without a GPU: by itself float32 for the root.
    with FakeTensorMode(), torch.device("cuda"):
        torch.set_autocast_enabled("cuda", True)
        try:
            x = torch.zeros(2, 64, 12, 12, dtype=torch.bfloat16, requires_grad=True)
            y = LocalResponseNorm(64)(x)
        finally:
            torch.set_autocast_enabled("cuda", False)
    assert {saved.dtype for saved in y.grad_fn.saved_tensors} == {torch.bfloat16}


def test_the_seed_alone_decides_the_initial_weights() -> None:
    one, same, other = (fresh(seed).local3.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
