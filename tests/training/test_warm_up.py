"""Updates before the clock starts: nothing of them stays, in a fresh run and in one that is resumed."""

import copy
from dataclasses import replace

import pytest
import torch

from tests.training.runs import assert_same
from training.dataset import Dataset
from training.loader import Loader
from training.networks import make_network
from training.recipe import RECIPES
from training.step import TrainingStep

CPU = torch.device("cpu")


def make_step(name: str, dataset: Dataset) -> TrainingStep:
    recipe = replace(RECIPES[name], batch_size=8)
    network = make_network(recipe, 10)
    network.initialize(torch.Generator().manual_seed(0), dataset.train.images)
    loader = Loader(dataset.train, recipe, network.normalization, 3, CPU)
    return TrainingStep(network, recipe, loader, CPU, "fp32")


@pytest.mark.parametrize("name", ["tutorial", "fast"])
def test_nothing_of_it_stays(few_pictures: Dataset, name: str) -> None:
    warm, cold = make_step(name, few_pictures), make_step(name, few_pictures)
    for _ in range(2):
        warm.warm_up(observed=True)
        for _ in range(2):
            assert torch.equal(warm().losses, cold().losses)
        assert_same(warm.state_dict(), cold.state_dict())


def test_nothing_of_it_stays_in_a_resumed_run(few_pictures: Dataset) -> None:
    first = make_step("fast", few_pictures)
    first()
    state = copy.deepcopy(first.state_dict())
    resumed = make_step("fast", few_pictures)
    resumed.load_state_dict(state)
    resumed.warm_up()
    assert torch.equal(resumed().losses, first().losses)
    assert_same(resumed.state_dict(), first.state_dict())
