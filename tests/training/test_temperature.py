"""The temperature: confidences that are right, for many pictures and for few."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from training.dataset import Dataset, Split
from training.networks import make_network
from training.recipe import RECIPES
from training.temperature import CAUTION, PICTURES, calibrate, fitted_temperature, held_out


def drawn(pictures: int, classes: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Logits, and labels that are drawn from their probabilities at that temperature."""
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(pictures, classes, generator=random)
    labels = torch.multinomial(torch.softmax(logits / temperature, dim=1), 1, generator=random).flatten()
    return logits, labels


@pytest.mark.parametrize("temperature", [0.2, 0.5, 1.0, 3.0])
@pytest.mark.parametrize(("pictures", "classes"), [(5_000, 2), (5_000, 10), (500, 1_000)])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature: float, pictures: int, classes: int) -> None:
    logits, labels = drawn(pictures, classes, temperature)
    assert fitted_temperature(logits, labels) == pytest.approx(temperature, rel=0.1)


def test_nothing_is_likelier() -> None:
    logits, labels = drawn(300, 10, 0.6)
    fitted = fitted_temperature(logits, labels)

    def unlikelihood(temperature: float) -> float:
        loss = torch.nn.functional.cross_entropy(logits.double() / temperature, labels, reduction="sum")
        return float(loss) + CAUTION * (1 / temperature + math.log(temperature))

    near = [fitted * factor for factor in np.geomspace(0.5, 2, 41)]
    assert unlikelihood(fitted) <= min(map(unlikelihood, near)) + 1e-3


@pytest.mark.parametrize(("pictures", "surest"), [(1, 0.97), (8, 0.985), (100, 0.999)])
def test_few_pictures_that_are_all_recognized_make_nothing_certain(pictures: int, surest: float) -> None:
    logits = torch.tensor([[3.0, 0.0]]).repeat(pictures, 1)
    temperature = fitted_temperature(logits, torch.zeros(pictures, dtype=torch.int64))
    assert temperature < 1
    assert torch.softmax(logits[0] / temperature, dim=0)[0] < surest


def test_held_out_pictures_are_judged_by_what_fits_the_others() -> None:
    logits, _ = drawn(40, 10, 1.0)
    right = logits.argmax(dim=1)
    misled = torch.where(torch.arange(40) % 2 == 0, right, (right + 1) % 10)  # every second is right, and no other
    calibrated = held_out(logits, misled)
    for mine, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        torch.testing.assert_close(calibrated[mine], logits[mine] / fitted_temperature(logits[other], misled[other]))
    assert calibrated[0].abs().max() < logits[0].abs().max() < calibrated[1].abs().max()


@pytest.mark.parametrize("pictures", [1, 2, 3])
def test_hardly_any_pictures_can_be_held_out(pictures: int) -> None:
    logits, labels = drawn(pictures, 10, 1.0)
    assert held_out(logits, labels).isfinite().all()


def test_what_is_not_finite_has_no_temperature() -> None:
    assert fitted_temperature(torch.tensor([[1.0, torch.nan]]), torch.tensor([0])) == 1.0


def test_a_network_that_is_always_wrong_becomes_unsure() -> None:
    logits = torch.tensor([[9.0, 0.0]]).repeat(50, 1)
    temperature = fitted_temperature(logits, torch.ones(50, dtype=torch.int64))
    assert torch.softmax(logits[0] / temperature, dim=0)[0] < 0.6


@pytest.mark.parametrize("count", [1, 50, PICTURES, PICTURES + 1])
def test_a_network_is_calibrated_where_its_recipe_asks_for_it(cifar10: Dataset, count: int) -> None:
    test = Split(cifar10.test.images[:count], cifar10.test.labels[:count])
    recipe = replace(RECIPES["fast"], test_time_views="one")
    for asked in (True, False):
        network = make_network(replace(recipe, calibrated=asked), 10)
        network.initialize(torch.Generator().manual_seed(0), cifar10.train.images[:500]).eval()
        network.requires_grad_(False)
        calibrate(network, test, torch.device("cpu"))
        first = network.temperature
        calibrate(network, test, torch.device("cpu"))
        assert (network.temperature != 1.0) == asked
        assert network.temperature == first
