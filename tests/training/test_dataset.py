"""The fingerprint of a split: that of CIFAR-10's files, whatever the pictures' size and the number of classes."""

from __future__ import annotations

import hashlib

import pytest
import torch

from training.dataset import Split


def split(labels: list[int], side: int = 32) -> Split:
    images = torch.arange(len(labels) * 3 * side * side).remainder(251).to(torch.uint8)
    return Split(images.view(-1, 3, side, side), torch.tensor(labels))


@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize(("labels", "label_bytes"), [([0, 9, 255], 1), ([0, 9, 256], 2), ([999, 0, 255], 2)])
def test_a_record_is_a_label_and_the_pixels(labels: list[int], label_bytes: int, side: int) -> None:
    found = split(labels, side)
    records = [
        label.to_bytes(label_bytes) + image.numpy().tobytes() for label, image in zip(labels, found.images, strict=True)
    ]
    assert found.sha256() == hashlib.sha256(b"".join(records)).hexdigest()


def test_labels_that_are_the_same_in_their_last_byte() -> None:
    assert split([0, 300]).sha256() != split([0, 44]).sha256()
    assert split([0, 300]).sha256() != split([1, 300]).sha256()


def test_more_pictures_than_are_hashed_at_once() -> None:
    labels = [number % 7 for number in range(300)]
    large = split(labels, 224)
    digest = hashlib.sha256()
    for label, image in zip(labels, large.images, strict=True):
        digest.update(bytes([label]) + image.numpy().tobytes())
    assert large.sha256() == digest.hexdigest()


def test_none_at_all() -> None:
    assert split([]).sha256() == hashlib.sha256().hexdigest()
