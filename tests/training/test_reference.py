"""The tutorial, to the letter: against what TensorFlow 2.21 computed with the tutorial's own cifar10.py.

`reference/tensorflow.npz` holds its results on fixed pictures; pictures and weights are drawn again here.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.dataset import Split
from training.distortions import adjust
from training.inference import central_crop
from training.loader import Batch, Loader, Plan
from training.losses import cross_entropy, loss_names, weight_losses
from training.network import Network
from training.networks import make_network
from training.normalization import standardize
from training.optimizer import Optimizer
from training.recipe import RECIPES
from training.schedule import learning_rate
from training.step import TrainingStep

RECIPE = RECIPES["tutorial"]
CPU = torch.device("cpu")
WEIGHTS = [  # name in TensorFlow, TensorFlow's shape, scale; in the order in which they are drawn
    ("conv1/weights", (5, 5, 3, 64), 0.05),
    ("conv1/biases", (64,), 0.1),
    ("conv2/weights", (5, 5, 64, 64), 0.05),
    ("conv2/biases", (64,), 0.1),
    ("local3/weights", (2304, 384), 0.04),
    ("local3/biases", (384,), 0.1),
    ("local4/weights", (384, 192), 0.04),
    ("local4/biases", (192,), 0.1),
    ("softmax_linear/weights", (192, 10), 1 / 192),
    ("softmax_linear/biases", (10,), 0.1),
]


@dataclass
class Reference:
    expected: dict[str, NDArray[np.float32]]
    images: Tensor  # uint8 [16, 3, 32, 32]
    labels: Tensor
    network: Network

    def batch(self) -> Batch:
        return Batch(evaluated(self.images), self.labels)

    def weight_losses(self) -> list[Tensor]:
        return weight_losses(Optimizer(self.network, RECIPE, CPU, "fp32").param_groups)


def evaluated(images: Tensor) -> Tensor:
    return standardize(central_crop(images, 24).float())


@pytest.fixture
def reference() -> Reference:
    expected = dict(np.load(Path(__file__).parent / "reference" / "tensorflow.npz"))
    rng = np.random.RandomState(int(expected["seed"]))
    low = rng.randint(0, 256, size=(16, 8, 8, 3)).repeat(4, axis=1).repeat(4, axis=2)
    images = (low + rng.randint(-20, 21, size=(16, 32, 32, 3))).clip(0, 255).astype(np.uint8)
    images[-1] = 127
    labels = rng.randint(0, 10, size=16)
    network = make_network(RECIPE, classes=10)
    parameters = dict(network.named_parameters())
    for name, shape, scale in WEIGHTS:
        values = torch.from_numpy((rng.standard_normal(shape) * scale).astype(np.float32))
        with torch.no_grad():
            parameters[ours(name)].copy_(to_ours(values))
    np.testing.assert_array_equal(images, expected["images"])
    np.testing.assert_array_equal(labels, expected["labels"])
    return Reference(expected, torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels), network)


def ours(name: str) -> str:
    return name.replace("/weights", ".weight").replace("/biases", ".bias")


def to_ours(values: Tensor) -> Tensor:
    """TensorFlow's layout to PyTorch's: [height, width, in, out] and [in, out] have the outputs last."""
    return values.permute(3, 2, 0, 1) if values.dim() == 4 else values.T if values.dim() == 2 else values


def test_evaluation_preprocessing(reference: Reference) -> None:
    found = evaluated(reference.images).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found, reference.expected["standardized"], atol=1e-5)


def test_distortions(reference: Reference) -> None:
    crops = reference.images[:, :, 4:28, 4:28].float()
    brightness = torch.from_numpy(reference.expected["brightness_delta"])
    contrast = torch.from_numpy(reference.expected["contrast_factor"])
    found = standardize(adjust(crops, brightness, contrast).flip(3)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found[:-1], reference.expected["distorted"][:-1], atol=1e-5)
    # The last picture is constant, so ours is 0; TensorFlow kept rounding errors, which the smallest deviation divides.
    np.testing.assert_allclose(found[-1], reference.expected["distorted"][-1], atol=3e-3)


@pytest.mark.parametrize("training", [True, False], ids=["while training", "in evaluation"])
def test_logits(reference: Reference, training: bool) -> None:
    with torch.set_grad_enabled(training):
        found = reference.network(reference.batch().images).detach()
    np.testing.assert_allclose(found, reference.expected["logits"], atol=1e-5)


def test_losses(reference: Reference) -> None:
    batch = reference.batch()
    with torch.no_grad():
        loss = cross_entropy(reference.network(batch.images), batch.labels, pictures=16)
        terms = torch.stack([*reference.weight_losses(), loss])
    assert list(reference.expected["loss_term_names"]) == ["local3/weight_loss", "local4/weight_loss", "cross_entropy"]
    np.testing.assert_allclose(terms, reference.expected["loss_terms"], atol=1e-5)
    np.testing.assert_allclose(terms.sum(), reference.expected["total_loss"], atol=1e-5)


def test_gradients(reference: Reference) -> None:
    batch = reference.batch()
    loss = cross_entropy(reference.network(batch.images), batch.labels, pictures=16)
    (loss + sum(reference.weight_losses())).backward()
    gradients = {name: parameter.grad for name, parameter in reference.network.named_parameters()}
    found = [gradients[ours(name)].norm().item() for name in reference.expected["grad_names"]]  # type: ignore[union-attr]
    np.testing.assert_allclose(found, reference.expected["grad_norms"], rtol=1e-4)


class CentralCrops(Loader):
    """The reference's one batch again and again, without distortions."""

    def batch(self, plan: Plan) -> Batch:
        return Batch(evaluated(self._images[: len(plan.index)]), self._labels)


@pytest.mark.parametrize("compiled", [False, True], ids=["as written", "compiled"])
def test_five_steps(reference: Reference, capsys: pytest.CaptureFixture[str], compiled: bool) -> None:
    if compiled and not shutil.which("g++"):
        pytest.skip("needs a C++ compiler")
    recipe = replace(RECIPE, batch_size=16)
    loader = CentralCrops(Split(reference.images, reference.labels), recipe, standardize, 0, CPU)
    step = TrainingStep(reference.network, recipe, loader, CPU, "fp32", fused=compiled)
    found = [step().losses[loss_names(recipe).index("total_loss")].item() for _ in range(5)]
    assert ("Compiling the network took" in capsys.readouterr().out) == compiled
    np.testing.assert_allclose(found, reference.expected["losses_5_steps"], atol=1e-5)
    images = reference.batch().images
    with torch.no_grad():
        raw, averaged = step.network(images), step.averages.network(images)
    np.testing.assert_allclose(raw, reference.expected["logits_after_5_steps"], atol=1e-4)
    np.testing.assert_allclose(averaged, reference.expected["ema_logits_after_5_steps"], atol=1e-4)
    averages = dict(step.averages.network.named_parameters())
    norms = [averages[ours(name)].norm().item() for name, _, _ in WEIGHTS]
    np.testing.assert_allclose(norms, reference.expected["ema_norms_after_5_steps"], rtol=1e-5)


def test_learning_rates(reference: Reference) -> None:
    steps = reference.expected["lr_steps"]
    found = np.array([learning_rate(RECIPE, RECIPE.groups[0], pictures=50_000, step=int(step)) for step in steps])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, reference.expected["lr"])
