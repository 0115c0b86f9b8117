"""What is said of a folder's classes."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from PIL import Image

from tests.training.picture_folders import numbered, write_flat_pictures
from training.dataset import Dataset, Split
from training.folder.balance import sentences
from training.named_datasets import load


def told(train: dict[str, int], test: dict[str, int]) -> list[str]:
    def split(counts: dict[str, int]) -> Split:
        labels = [label for label, name in enumerate(train) for _ in range(counts.get(name, 0))]
        return Split(torch.zeros(len(labels), 3, 64, 64, dtype=torch.uint8), torch.tensor(labels))

    return list(sentences(Dataset("mine", tuple(train), split(train), split(test))))


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


def test_pictures_that_are_in_both_halves(tmp_path: Path) -> None:
    """Whatever their files are called, and whatever format they have, as long as it keeps the pixels."""
    write_flat_pictures(tmp_path, numbered({"train/a": 20, "train/b": 20, "test/a": 5, "test/b": 5}))
    shutil.copy(tmp_path / "train" / "a" / "3.png", tmp_path / "test" / "a" / "again.png")
    Image.open(tmp_path / "train" / "b" / "4.png").save(tmp_path / "test" / "b" / "again.bmp")
    for _ in range(2):
        told: list[str] = []
        load(f"folder:{tmp_path}", None, say=told.append)
        assert told[-1].startswith("Warning: 2 test pictures are among the training pictures too, pixel for pixel,")
