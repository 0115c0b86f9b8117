"""How many pictures there are of which class, in sentences, and what to expect of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from training.dataset import Dataset
from training.folder.names import listed, shown
from training.recipe import FAST, Recipe

FEW = 10  # training pictures of a class
MANY_TIMES = 10  # as many pictures of one class as of another
OFTEN = 1_000  # times through all training pictures; the tutorial goes 154 times through CIFAR-10's


def sentences(dataset: Dataset, recipe: Recipe | None = None) -> Iterator[str]:
    """The first tells of the set, those that begin with "Warning" of what may spoil the network.

    `recipe`: what it is going to be trained with.
    """
    names = dataset.class_names
    train, test = (_counts(split.labels, len(names)) for split in (dataset.train, dataset.test))
    side = dataset.train.images.shape[-1]
    yield (
        f"{dataset.name}: {len(names):,} classes, {sum(train):,} training and {sum(test):,} test pictures, "
        f"stored as {side} x {side} pixels."
    )
    least, most = min(train), max(train)
    smallest, largest = shown(names[train.index(least)]), shown(names[train.index(most)])
    if least == most:
        yield f"Each class has {most:,} training picture{'s' if most > 1 else ''}."
    else:
        yield f'The largest class, "{largest}", has {most:,} training pictures, the smallest, "{smallest}", {least:,}.'
    if most > MANY_TIMES * least:
        yield (
            f'Warning: "{largest}" has {most / least:,.0f} times as many training pictures as "{smallest}", so the '
            "network will answer with the large classes too often."
        )
    few = [name for name, pictures in zip(names, train, strict=True) if pictures < FEW]
    if few:
        yield f"Warning: {_of_classes(few)} fewer than {FEW} training pictures: {listed(few)}."
    untested = [name for name, pictures in zip(names, test, strict=True) if not pictures]
    if untested:
        own = "its own" if len(untested) == 1 else "their own"
        yield f"Warning: {_of_classes(untested)} no test picture, so no accuracy of {own}: {listed(untested)}."
    if recipe and recipe.epochs is None:
        yield from _repetition(recipe, sum(train))


def _repetition(recipe: Recipe, pictures: int) -> Iterator[str]:
    times = recipe.steps * recipe.batch_size / pictures
    if times > OFTEN:
        yield (
            f"{recipe.steps:,} steps are {times:,.0f} times through the {pictures:,} training pictures; --recipe "
            f"{FAST.name} fits itself to them."
        )


def _counts(labels: Tensor, classes: int) -> list[int]:
    counts: list[int] = torch.bincount(labels, minlength=classes).tolist()
    return counts


def _of_classes(names: list[str]) -> str:
    return f"{len(names):,} classes have" if len(names) > 1 else "1 class has"
