"""The data sets that a command line can name, and that a run remembers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from training import cifar10, download, synthetic
from training.choices import DATA, DATASETS, DEFAULT_TEST_SHARE, FOLDER
from training.dataset import Dataset
from training.drawings import SIDE
from training.errors import UserError
from training.folder import reading
from training.folder.balance import sentences
from training.folder.names import listed, shown
from training.recipe import Recipe
from training.run_directory import RunDirectory
from training.say import Say, announce


def load(
    name: str,
    data_dir: Path | None,
    image_size: int = Recipe.image_size,
    test_share: float | None = None,
    say: Say | None = announce,
    default_share: float = DEFAULT_TEST_SHARE,
) -> Dataset:
    """The data set called `name`, one of `DATASETS`, or the folder that is called "folder:PATH".

    `data_dir` says where CIFAR-10 is (see `cifar10.directory` for what None means); the others have no use for it.
    `image_size` (pixels a side), `test_share` (None: nobody has asked for one), `say` and `default_share` are for
    folders; see `folder.reading.read`.

    Raises UserError if the name is unknown, the files are missing or damaged, or the pictures have another size, or if
    a `test_share` is asked for where the data set itself says which pictures are for testing.
    """
    if is_folder(name):
        return reading.read(_path(name), image_size, test_share, default_share, say)
    if name not in DATASETS:
        raise UserError(f"There is no data set called {name!r}; choose one of: {DATA}.")
    if test_share is not None:
        raise UserError(f"{name} says which pictures are for testing; leave --test-share out.")
    if image_size != SIDE:
        raise UserError(
            f"The pictures of {name} have {SIDE} x {SIDE} pixels; leave --image-size out, or train on pictures of "
            f"your own: --data {FOLDER}PATH"
        )
    return cifar10.read(cifar10.directory(data_dir)) if name == "cifar10" else synthetic.make()


def fetched(name: str, data_dir: Path | None) -> Path | None:
    """Where to load from: CIFAR-10 is downloaded if it isn't there yet. Raises NoNetwork where it can't be."""
    return download.fetch(data_dir) if name == "cifar10" else data_dir


def of_run(run_dir: RunDirectory, data: str | None, data_dir: Path | None) -> Dataset:
    """What a run was trained on, by its recipe.json; `data` names a folder that has been moved since, by its new name.

    Raises UserError where nothing has been trained, or where the data can't be found or has other classes by now.
    """
    description = run_dir.trained()
    trained_on, recipe = description.get("dataset"), description.get("recipe", {})
    if not isinstance(trained_on, str) or not isinstance(recipe, dict):
        raise run_dir.damaged("it tells no recipe or no data set")
    name = data or trained_on
    if is_folder(name) != is_folder(trained_on) or (name != trained_on and not is_folder(name)):
        raise UserError(f"The run was trained on {shown(trained_on)}, not on {shown(name)}; leave --data out.")
    if is_folder(name) and not data and not os.path.isdir(_path(name)):
        raise UserError(
            f"{shown(str(_path(name)))}, which the run was trained on, is not there any more; if it has been moved, "
            f"say where to: --data {FOLDER}PATH"
        )
    image_size = recipe.get("image_size", Recipe.image_size)
    dataset = load(name, fetched(name, data_dir), image_size, default_share=share_of(description))
    classes = description.get("class_names", dataset.class_names)
    if tuple(classes) != dataset.class_names:
        other = sorted(set(classes) ^ set(dataset.class_names))
        raise UserError(
            f"{shown(name)} has other classes than when the run was trained ({listed(other)}); give the pictures as "
            f"they were, with --data {FOLDER}PATH, or train again."
        )
    fingerprint = dataset.train.sha256()
    if description.get("training_data_sha256", fingerprint) != fingerprint:
        announce(
            "Warning: these are not the training pictures that the run was trained on; if some of those are for "
            "testing now, it is less accurate than it seems."
        )
    return dataset


def share_of(description: dict[str, Any]) -> float:
    """How many of a folder's pictures a run keeps for testing where the folder does not say it, by its recipe.json."""
    share = description.get("test_share")
    return DEFAULT_TEST_SHARE if share is None else float(share)


def announce_folder(name: str, dataset: Dataset, recipe: Recipe | None = None) -> None:
    """Prints what is in a folder, and what to expect of it, with the recipe that it is trained with, if any."""
    if is_folder(name):
        for sentence in sentences(dataset, recipe):
            announce(sentence)


def is_folder(name: str) -> bool:
    return name.startswith(FOLDER)


def _path(name: str) -> Path:
    return Path(name.removeprefix(FOLDER))
