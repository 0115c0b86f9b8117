"""What is said of a folder's classes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.training.picture_folders import numbered, write_flat_pictures
from tests.training.processes import StartCommand
from training.dataset import Dataset, Split
from training.folder.balance import sentences
from training.named_datasets import load
from training.recipe import RECIPES, Recipe


def told(train: dict[str, int], test: dict[str, int], recipe: Recipe | None = None) -> list[str]:
    def split(counts: dict[str, int]) -> Split:
        labels = [label for label, name in enumerate(train) for _ in range(counts.get(name, 0))]
        return Split(torch.zeros(len(labels), 3, 64, 64, dtype=torch.uint8), torch.tensor(labels))

    return list(sentences(Dataset("mine", tuple(train), split(train), split(test)), recipe))


def test_as_many_of_each() -> None:
    assert told({"a": 10, "b": 10}, {"a": 2, "b": 2}) == [
        "mine: 2 classes, 20 training and 4 test pictures, stored as 64 x 64 pixels.",
        "Each class has 10 training pictures.",
    ]


def test_ten_times_as_many_is_no_warning() -> None:
    assert told({"a": 100, "b": 10}, {"a": 2, "b": 2})[1:] == [
        'The largest class, "a", has 100 training pictures, the smallest, "b", 10.',
    ]
    assert told({"a": 1_010, "b": 10}, {"a": 2, "b": 2})[2].startswith(
        'Warning: "a" has 101 times as many training pictures as "b"'
    )


def test_few_are_named() -> None:
    classes = {f"class {number}": number for number in range(1, 12)}
    few, untested = told(classes, {"class 3": 1, "class 11": 2})[-2:]
    assert few == (
        'Warning: 9 classes have fewer than 10 training pictures: "class 1", "class 2", "class 3", "class 4", '
        '"class 5" and 4 others.'
    )
    assert untested.startswith('Warning: 9 classes have no test picture, so no accuracy of their own: "class 1", ')


@pytest.mark.parametrize(
    ("recipe", "steps", "times"), [("tutorial", 60_000, "38,400"), ("tutorial", 1_562, None), ("fast", 60_000, None)]
)
def test_a_recipe_that_goes_through_them_thousands_of_times(recipe: str, steps: int, times: str | None) -> None:
    found = told({"a": 100, "b": 100}, {"a": 20, "b": 20}, RECIPES[recipe].with_changes(steps=steps))[2:]
    assert found == (
        [f"60,000 steps are {times} times through the 200 training pictures; --recipe fast fits itself to them."]
        if times
        else []
    )


def test_told_before_it_trains(start: StartCommand, tmp_path: Path) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered({"train/a": 4, "train/b": 4, "test/a": 1}))
    command = start("train", "--data", f"folder:{folder}", "--batch-size", 8, "--run-dir", tmp_path / "run")
    command.wait_for_output("60,000 steps are 60,000 times through the 8 training pictures; --recipe fast fits")
    command.kill()


def test_pictures_that_are_in_both_halves(tmp_path: Path) -> None:
    """Whatever their files are called, and whatever format they have, as long as it keeps the pixels."""
    write_flat_pictures(tmp_path, numbered({"train/a": 20, "train/b": 20, "test/a": 5, "test/b": 5}))
    shutil.copy(tmp_path / "train" / "a" / "3.png", tmp_path / "test" / "a" / "again.png")
    Image.open(tmp_path / "train" / "b" / "4.png").save(tmp_path / "test" / "b" / "again.bmp")
    for _ in range(2):
        told: list[str] = []
        load(f"folder:{tmp_path}", None, say=told.append)
        assert told[-1].startswith("Warning: 2 test pictures are among the training pictures too, pixel for pixel,")
