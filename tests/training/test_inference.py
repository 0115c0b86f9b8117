"""From pictures to logits: what the recipe does to them after the network."""

import pytest
import torch

from training.dataset import Dataset
from training.inference import logits_of_pictures
from training.network import Network
from training.networks import make_network
from training.recipe import RECIPES, Recipe


@pytest.mark.parametrize("name", ["tutorial", "fast"])
def test_a_temperature_makes_probabilities_surer_and_keeps_the_order(cifar10: Dataset, name: str) -> None:
    images = cifar10.test.images[:50]

    def network(recipe: Recipe, temperature: float) -> Network:
        fresh = make_network(recipe, 10)
        fresh.temperature = temperature
        return fresh.initialize(torch.Generator().manual_seed(0), cifar10.train.images[:500]).eval()

    with torch.inference_mode():
        cold, warm = (logits_of_pictures(network(RECIPES[name], temperature), images) for temperature in (0.5, 1.0))
    torch.testing.assert_close(cold, 2 * warm)
    assert (cold.softmax(dim=1).amax(dim=1) > warm.softmax(dim=1).amax(dim=1)).all()
