"""What recipes beyond the tutorial do to pictures. (The tutorial: test_reference.py, test_loader.py.)"""

from dataclasses import replace

import pytest
import torch

from training.dataset import Dataset, Split
from training.distortions import Draws
from training.loader import Loader
from training.networks import make_network
from training.normalization import ChannelNormalization
from training.recipe import RECIPES, Recipe
from training.recipe_parts import Distortions

PLAIN = Distortions(crop_size=None, flip="none", brightness=0.0, contrast=(1.0, 1.0))
CPU = torch.device("cpu")


def shades(images: torch.Tensor) -> torch.Tensor:
    return images


def loader(split: Split, distortions: Distortions, seed: int = 0) -> Loader:
    recipe = replace(Recipe(), batch_size=len(split), distortions=distortions)
    return Loader(split, recipe, shades, seed, CPU)


def synthetic(pictures: int = 40, side: int = 32) -> Split:
    images = torch.randint(256, (pictures, 3, side, side), generator=torch.Generator().manual_seed(1))
    return Split(images.to(torch.uint8), torch.zeros(pictures, dtype=torch.int64))


@pytest.mark.parametrize(
    ("side", "translate", "margin"), [(32, 1 / 16, 2), (32, 1 / 8, 4), (64, 1 / 16, 4), (33, 1 / 16, 2)]
)
def test_a_moved_picture_is_a_crop_of_the_picture_with_a_mirrored_margin(
    side: int, translate: float, margin: int
) -> None:
    split = synthetic(pictures=300, side=side)
    made = loader(split, replace(PLAIN, translate=translate))
    plan = made.plan(0)
    padded = torch.nn.functional.pad(split.images.float(), (margin,) * 4, "reflect")
    for image, index, top, left in zip(
        made.batch(plan).images, plan.index, plan.draws.top, plan.draws.left, strict=True
    ):
        torch.testing.assert_close(image, padded[index, :, top : top + side, left : left + side], rtol=0, atol=0)
    assert plan.draws.top.unique().tolist() == plan.draws.left.unique().tolist() == list(range(2 * margin + 1))


def test_alternating_flips_show_each_picture_both_ways_round_in_two_epochs() -> None:
    split = synthetic()
    made = loader(split, replace(PLAIN, flip="alternating"))
    flips = []
    for epoch in range(4):
        plan = made.plan(epoch)
        flips.append(plan.draws.flip[plan.index.argsort()])
    assert 5 < flips[0].sum() < 35
    assert torch.equal(flips[0], ~flips[1])
    assert torch.equal(flips[0], flips[2])
    assert torch.equal(flips[1], flips[3])
    other = loader(split, replace(PLAIN, flip="alternating"), seed=1).plan(0)
    assert not torch.equal(flips[0], other.draws.flip[other.index.argsort()])


def test_cutout_blanks_one_square_inside_each_picture() -> None:
    split = synthetic(pictures=200)
    split.images.clamp_(min=1)
    made = loader(split, replace(PLAIN, cutout=12 / 32))
    blank = (made.batch(made.plan(0)).images == 0).all(dim=1)
    assert (blank.flatten(1).sum(dim=1) == 144).all()
    for edge in (blank.any(dim=1), blank.any(dim=2)):
        assert (edge.sum(dim=1) == 12).all()
        assert edge.any(dim=0).all(), "it may lie anywhere"


@pytest.mark.parametrize("name", RECIPES)
def test_batches_are_laid_out_as_convolutions_want_them(few_pictures: Dataset, name: str) -> None:
    recipe = replace(RECIPES[name], batch_size=8)
    made = Loader(few_pictures.train, recipe, make_network(recipe, 10).normalization, 0, CPU)
    images = made.batch(made.plan(0)).images
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert not images.is_contiguous()


def test_without_a_distortion_a_picture_stays_as_it_is() -> None:
    split = synthetic()
    made = loader(split, PLAIN)
    plan = made.plan(0)
    torch.testing.assert_close(made.batch(plan).images, split.images[plan.index].float(), rtol=0, atol=0)


def test_channels_are_normalized_by_the_training_pictures(cifar10: Dataset) -> None:
    normalization = ChannelNormalization()
    normalization.fit(cifar10.train.images)
    normalized = normalization(cifar10.train.images.float())
    torch.testing.assert_close(normalized.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(normalized.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    one_colour = torch.full((3, 3, 32, 32), 200, dtype=torch.uint8)
    normalization.fit(one_colour)
    assert normalization(one_colour.float()).abs().max() == 0


def test_all_draws_of_a_recipe_go_round(cifar10: Dataset) -> None:
    made = Loader(cifar10.train, RECIPES["fast"], shades, 0, CPU)
    draws: Draws = made.plan(24).draws
    assert {len(values) for values in draws.tensors()} == {2000}
