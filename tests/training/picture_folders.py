"""Folders of pictures, as people have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from training.dataset import Dataset, Split

ODD_NAMES = ("rose garden", "Élan", 'l\'été "chaud"', "狐 🦊", "<b>&amp;", "lonely")
"""The last has one picture, to train on."""
SUFFIXES = ("jpg", "png", "webp", "JPEG", "bmp", "gif")


def write_real_pictures(folder: Path, dataset: Dataset, pictures: int, test_pictures: int) -> None:
    """folder/train/CLASS/… and folder/test/CLASS/…: real pictures of mixed formats and sizes, some in folders below."""
    for name, split, count in (("train", dataset.train, pictures), ("test", dataset.test, test_pictures)):
        for label, class_name in enumerate(ODD_NAMES):
            most = count if class_name != "lonely" else int(name == "train")
            for number, at in enumerate((split.labels == label).nonzero().flatten()[:most].tolist()):
                below = folder / name / class_name / ("more" if number % 5 == 4 else "")
                _write(below / f"{at}.{SUFFIXES[number % len(SUFFIXES)]}", split, at, number)


def _write(path: Path, split: Split, at: int, number: int) -> None:
    picture = Image.fromarray(split.images[at].permute(1, 2, 0).numpy())
    sizes = {1: (40 + number, 90), 2: (300, 200)}
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize(sizes.get(number % 3, (32, 32))).save(path)


def write_flat_pictures(folder: Path, paths: Iterable[str], size: tuple[int, int] = (8, 6)) -> Path:
    """Pictures of one colour each, by their paths in the folder; returns the folder."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, color_of(path)).save(folder / path)
    return folder


def color_of(path: str) -> tuple[int, int, int]:
    """A colour that few other paths have; no format changes it much."""
    red, green, blue = np.random.default_rng(list(path.encode())).integers(0, 256, 3).tolist()
    return red, green, blue


def numbered(classes: Mapping[str, int], suffix: str = "png") -> list[str]:
    """{"a": 2} -> ["a/0.png", "a/1.png"]"""
    return [f"{name}/{number}.{suffix}" for name, count in classes.items() for number in range(count)]
