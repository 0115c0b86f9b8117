"""The built-in set: the same on every machine, balanced, and its pictures can be told apart."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.dataset import Dataset
from training.errors import UserError
from training.named_datasets import load
from training.sample import write_sample


@pytest.fixture(scope="module")
def synthetic() -> Dataset:
    return load("synthetic", None)


def test_same_bytes_on_every_machine(synthetic: Dataset) -> None:
    assert synthetic.train.sha256() == "256b80b7612739ebba3e7c7d387a87f1cd1b9294504b7b7bfd427bc5efc63f54"
    assert synthetic.test.sha256() == "d415f6d822d978e62ac6858e47a6b1af766a1b09e8370ae9b00d396ad20f8e79"


def test_shapes_and_balance(synthetic: Dataset) -> None:
    assert synthetic.name == "synthetic"
    assert len(set(synthetic.class_names)) == 10
    for split, pictures in [(synthetic.train, 20_000), (synthetic.test, 4_000)]:
        assert split.images.shape == (pictures, 3, 32, 32)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert torch.bincount(split.labels).tolist() == [pictures // 10] * 10


def test_order_is_shuffled_so_that_any_part_has_every_class(synthetic: Dataset) -> None:
    assert torch.bincount(synthetic.train.labels[:1_000], minlength=10).min() > 50


def test_no_test_picture_is_a_training_picture(synthetic: Dataset) -> None:
    training = {picture.tobytes() for picture in synthetic.train.images.numpy()}
    assert len(training) == 20_000
    assert not any(picture.tobytes() in training for picture in synthetic.test.images.numpy())


def test_made_within_seconds() -> None:
    start = time.process_time()
    load("synthetic", None)
    assert time.process_time() - start < 60  # 2 seconds alone; minutes, drawn one by one


def test_a_line_through_the_pixels_does_not_solve_it(synthetic: Dataset) -> None:
    """Ridge regression on grey pixels: better than chance, and far from what a network that sees shapes reaches."""
    training = synthetic.train.images[:5_000].float().mean(1).flatten(1) / 255 - 0.5
    test = synthetic.test.images.float().mean(1).flatten(1) / 255 - 0.5
    targets = torch.nn.functional.one_hot(synthetic.train.labels[:5_000], 10).float()
    weights = torch.linalg.solve(training.T @ training + 100 * torch.eye(1024), training.T @ targets)
    scores = test @ weights
    accuracy = (scores.argmax(1) == synthetic.test.labels).double().mean().item()
    assert 0.12 < accuracy < 0.5


def test_sample_is_the_first_test_picture_as_png(synthetic: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "new" / "sample.png"
    assert write_sample(synthetic, path) == synthetic.class_names[int(synthetic.test.labels[0])]
    with Image.open(path) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (32, 32))
        planes = np.asarray(picture).transpose(2, 0, 1)
    assert np.array_equal(planes, synthetic.test.images[0].numpy())


def test_sample_that_cannot_be_written_is_a_sentence(synthetic: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"sample.png cannot be written \(.+\); choose another path"):
        write_sample(synthetic, tmp_path / "file" / "sample.png")
