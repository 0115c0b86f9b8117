"""The network of the fast recipes: how it starts, and what it is made of."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from training.dataset import Dataset
from training.recipe import RECIPES, Recipe
from training.recipe_parts import WhitenedArchitecture
from training.whitened_network import WhitenedNetwork

FAST = RECIPES["fast"]


def fresh(
    images: torch.Tensor, architecture: WhitenedArchitecture | None = None, recipe: Recipe = FAST
) -> WhitenedNetwork:
    network = WhitenedNetwork(recipe, architecture or WhitenedArchitecture(), classes=10)
    return network.initialize(torch.Generator().manual_seed(0), images)


def test_the_first_layer_whitens_patches(cifar10: Dataset) -> None:
    images = cifar10.train.images[:2000]
    network = fresh(images)
    with torch.no_grad():
        network.whitening.bias.zero_()  # type: ignore[union-attr]
        outputs = network.whitening(network.normalization(images.float()))
    ours, opposite = outputs.transpose(0, 1).flatten(1).split(12)
    torch.testing.assert_close(ours, -opposite, atol=1e-4, rtol=1e-4)
    moments = ours @ ours.T / ours.shape[1]
    torch.testing.assert_close(moments - moments.diag().diag(), torch.zeros(12, 12), atol=0.02, rtol=0)
    # Directions that hardly vary are not blown up all the way.
    assert moments.diag().min() > 0.1
    assert moments.diag().max() < 1.1
    assert not network.whitening.weight.requires_grad


def test_blocks_start_by_handing_their_input_on(cifar10: Dataset) -> None:
    network = fresh(cifar10.train.images[:100])
    x = torch.rand(2, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    second = network.block1.convolutions[1]
    torch.testing.assert_close(second(x), x)


def test_three_convolutions_are_a_residual(cifar10: Dataset) -> None:
    block = fresh(cifar10.train.images[:100], WhitenedArchitecture(depth=3)).block2
    x = torch.rand(2, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    first = F.gelu(block.norms[0](F.max_pool2d(block.convolutions[0](x), 2)))
    assert not torch.equal(block(x), first)
    with torch.no_grad():
        for weights in block.convolutions[1:].parameters():
            weights.zero_()
    torch.testing.assert_close(block(x), first)


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (15, 8), (8, 15)])
def test_training_leaves_out_what_pooling_does_not_look_at(cifar10: Dataset, size: tuple[int, int]) -> None:
    block = fresh(cifar10.train.images[:100]).block2
    x = torch.rand(2, 64, *size, generator=torch.Generator().manual_seed(0))
    pooled: list[torch.Tensor] = []
    block.norms[0].register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
    weights, gradients, operations = block.convolutions[0].weight, [], []
    for training in (True, False):
        with FlopCounterMode(display=False) as counter:
            block.train(training)(x)
        operations.append(counter.get_total_flops())
        (pooled[-1] * torch.arange(pooled[-1].numel()).view_as(pooled[-1]).sin()).sum().backward()
        gradients.append(weights.grad)
        weights.grad = None
    torch.testing.assert_close(*pooled)
    torch.testing.assert_close(*gradients)
    assert (operations[0] < operations[1]) == any(side % 2 for side in size)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("side", [32, 47, 96])
def test_pictures_of_any_size(depth: int, side: int) -> None:
    images = torch.randint(256, (8, 3, side, side), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    recipe = replace(FAST, image_size=side)
    network = fresh(images, WhitenedArchitecture(widths=(32, 48, 64), depth=depth), recipe)
    assert network(network.normalization(images.float())).shape == (8, 10)


def test_every_parameter_belongs_to_a_group_of_the_recipe(cifar10: Dataset) -> None:
    for architecture in (WhitenedArchitecture(), WhitenedArchitecture(whitening=False), WhitenedArchitecture(depth=3)):
        network = fresh(cifar10.train.images[:100], architecture)
        groups = network.parameter_groups()
        assert groups.keys() == {group.parameters for group in FAST.groups}
        trained = {id(each) for each in network.parameters() if each.requires_grad}
        assert {id(each) for group in groups.values() for each in group} == trained


def test_the_seed_and_the_pictures_decide_the_weights(cifar10: Dataset) -> None:
    images = cifar10.train.images[:500]
    one, same = fresh(images).state_dict(), fresh(images).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    other = fresh(images.flip(2)).state_dict()
    assert not torch.equal(one["whitening.weight"], other["whitening.weight"])
    assert torch.equal(one["block1.convolutions.0.weight"], other["block1.convolutions.0.weight"])
