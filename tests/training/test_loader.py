"""The stream of training pictures: each once an epoch, in an order and with distortions that the seed alone decides."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from training.dataset import Dataset, Split
from training.distributed import World
from training.errors import UserError
from training.loader import Batch, Loader, Plan
from training.normalization import standardize
from training.recipe import Recipe
from training.recipe_parts import Distortions

PICTURES = 200


def make_loader(dataset: Dataset, batch_size: int, seed: int = 3, distortions: Distortions | None = None) -> Loader:
    recipe = replace(Recipe(), batch_size=batch_size, distortions=distortions or Distortions())
    return Loader(dataset.train, recipe, standardize, seed, torch.device("cpu"))


def stream(loader: Loader, updates: int) -> torch.Tensor:
    return torch.cat([loader.plan(step).index for step in range(updates)])


def take(loader: Loader, first_step: int, updates: int) -> list[Batch]:
    return [loader.batch(loader.plan(step)) for step in range(first_step, first_step + updates)]


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


class TooMany(torch.Tensor):
    """Pictures for which the GPU has no room."""

    def to(self, *_: Any, **__: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_pictures_that_a_gpu_has_no_room_for(few_pictures: Dataset) -> None:
    images = few_pictures.train.images.as_subclass(TooMany)
    dataset = replace(few_pictures, train=Split(images, few_pictures.train.labels))
    with pytest.raises(UserError, match=r"not enough free memory for the training pictures, 0\.0 GB; choose a smaller"):
        make_loader(dataset, 8)


@pytest.mark.parametrize("batch_size", [1, 8, 128, 7, PICTURES, 3 * PICTURES + 1])
def test_every_epoch_visits_every_picture_once(few_pictures: Dataset, batch_size: int) -> None:
    updates = -(-3 * PICTURES // batch_size)
    index = stream(make_loader(few_pictures, batch_size), updates)
    assert len(index) == updates * batch_size
    epochs = index[: 3 * PICTURES].view(3, PICTURES)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(PICTURES).expand(3, -1))
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], torch.arange(PICTURES))


def test_the_whole_of_cifar10_is_an_epoch(cifar10: Dataset) -> None:
    index = stream(make_loader(cifar10, 128), 391)
    assert torch.equal(index[:50_000].sort().values, torch.arange(50_000))


@pytest.mark.parametrize("batch_size", [7, 128])
def test_batch_size_changes_neither_order_nor_distortions(few_pictures: Dataset, batch_size: int) -> None:
    def images(batch_size: int) -> torch.Tensor:
        batches = take(make_loader(few_pictures, batch_size), 0, -(-2 * PICTURES // batch_size))
        return torch.cat([batch.images for batch in batches])[: 2 * PICTURES]

    torch.testing.assert_close(images(batch_size), images(PICTURES), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("batch_size", "ranks"), [(16, 2), (21, 4), (450, 8)])
def test_ranks_share_the_batch_of_one(few_pictures: Dataset, batch_size: int, ranks: int) -> None:
    recipe = replace(Recipe(), batch_size=batch_size)
    cpu = torch.device("cpu")
    loaders = [Loader(few_pictures.train, recipe, standardize, 3, cpu, World(rank, ranks)) for rank in range(ranks)]
    alone = make_loader(few_pictures, batch_size)
    for step in range(2 * PICTURES // batch_size + 2):
        parts, whole = [loader.plan(step) for loader in loaders], alone.plan(step)
        assert {len(part.index) for part in parts} <= {batch_size // ranks, batch_size // ranks + 1}
        for joined, expected in zip(
            zip(*(part.tensors() for part in parts), strict=True), whole.tensors(), strict=True
        ):
            assert torch.equal(torch.cat(joined), expected)


@pytest.mark.parametrize("first_step", [1, 24, 25, 60])
def test_a_loader_started_later_gives_the_same_batches(few_pictures: Dataset, first_step: int) -> None:
    expected = take(make_loader(few_pictures, 8), 0, 65)[first_step:]
    torch.manual_seed(99)  # the state of PyTorch's own generator has no say
    found = take(make_loader(few_pictures, 8), first_step, 65 - first_step)
    assert all(same(*pair) for pair in zip(expected, found, strict=True))


def test_the_seed_decides(few_pictures: Dataset) -> None:
    first, again, other = (make_loader(few_pictures, 64, seed) for seed in (3, 3, 4))
    assert same(take(first, 0, 1)[0], take(again, 0, 1)[0])
    one, two = first.plan(0), other.plan(0)
    assert not torch.equal(one.index, two.index)
    for name in ("top", "left", "flip", "brightness", "contrast"):
        assert not torch.equal(getattr(one.draws, name), getattr(two.draws, name)), name


def test_a_picture_is_distorted_anew_in_every_epoch(few_pictures: Dataset) -> None:
    def contrast_by_picture(plan: Plan) -> torch.Tensor:
        return plan.draws.contrast[plan.index.argsort()]

    loader = make_loader(few_pictures, PICTURES)
    assert (contrast_by_picture(loader.plan(0)) != contrast_by_picture(loader.plan(1))).float().mean() > 0.99


def test_distortions_are_drawn_for_each_picture_over_their_whole_range(cifar10: Dataset) -> None:
    draws = make_loader(cifar10, 50_000).plan(0).draws
    for offsets in (draws.top, draws.left):  # 32 - 24 + 1 places
        counts = torch.bincount(offsets, minlength=9)
        assert len(counts) == 9
        torch.testing.assert_close(counts / 50_000, torch.full((9,), 1 / 9), rtol=0.1, atol=0)
    assert 0.48 < draws.flip.float().mean() < 0.52
    for values, low, high in [(draws.brightness, -63, 63), (draws.contrast, 0.2, 1.8)]:
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert values.unique().numel() > 45_000


def test_pictures_and_labels_are_those_of_the_plan(few_pictures: Dataset) -> None:
    plain = Distortions(flip="none", brightness=0, contrast=(1, 1))
    loader = make_loader(few_pictures, 16, distortions=plain)
    plan = loader.plan(12)  # the batch in which one epoch ends and the next begins
    batch = loader.batch(plan)
    assert torch.equal(batch.labels, few_pictures.train.labels[plan.index])
    assert batch.images.dtype == torch.float32
    assert batch.images.shape == (16, 3, 24, 24)
    for image, index, top, left in zip(batch.images, plan.index, plan.draws.top, plan.draws.left, strict=True):
        crop = few_pictures.train.images[index, :, top : top + 24, left : left + 24]
        torch.testing.assert_close(image, standardize(crop[None].float())[0], rtol=0, atol=1e-5)
