"""What recipes are made of: plain values, with the tutorial's numbers as defaults. Their rooms say what they do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True)
class Distortions:
    """How a training picture is varied (tutorial: `distorted_inputs`)."""

    crop_size: int | None = 24  # pixels; evaluation takes the central square; None: as large as the picture
    translate: float = 0.0  # of the side: how far a picture may move, its edge mirrored, before the crop is taken
    # Left to right, every second picture on average; "alternating": each, every second epoch.
    flip: Literal["random", "alternating", "none"] = "random"
    brightness: float = 63.0  # added to all pixels of a picture, uniform in [-63, 63), on the scale 0..255
    contrast: tuple[float, float] = (0.2, 1.8)  # factor on the distance from each channel's mean
    cutout: float = 0.0  # of the side: a square that is blanked, anywhere in the picture


@dataclass(frozen=True)
class TutorialArchitecture:
    """tutorial_network.py: the standard deviations of the weights' truncated normals (2 sigma), the constant biases."""

    kind: Literal["tutorial"] = "tutorial"
    conv1: float = 1e-4  # the original's value: the first layer wakes up slowly, within the first thousand steps
    conv2: float = 1e-4
    local3: float = 0.04
    local4: float = 0.04
    softmax_linear: float = 1 / 192  # one over its number of inputs
    biases: tuple[float, float, float, float, float] = (0.0, 0.1, 0.1, 0.1, 0.0)


@dataclass(frozen=True)
class WhitenedArchitecture:
    """whitened_network.py: how wide and deep, and how its weights start."""

    kind: Literal["whitened"] = "whitened"
    widths: tuple[int, int, int] = (64, 256, 256)  # channels of the three blocks
    depth: int = 2  # convolutions a block; of three or more, all but the first are a residual
    whitening: bool = True  # the first layer whitens patches of 2x2 pixels; if not, its weights are random and learned
    dirac: bool = True  # convolutions start by handing their input on; if not, PyTorch's default


@dataclass(frozen=True)
class Staircase:
    """The learning rate falls by a factor every so many epochs."""

    kind: Literal["staircase"] = "staircase"
    factor: float = 0.1
    epochs: float = 350.0


@dataclass(frozen=True)
class Linear:
    """The learning rate falls to zero in a straight line."""

    kind: Literal["linear"] = "linear"
    epochs: float | None = None  # after which it is zero, and the parameters stay; None: at the last update


@dataclass(frozen=True)
class ParameterGroup:
    """Some of a network's parameters, and how they move; see optimizer.py."""

    parameters: str  # what the network calls them
    optimizer: Literal["sgd", "muon"] = "sgd"
    learning_rate: float = 1.0  # factor on the recipe's
    momentum: float = 0.0  # Nesterov's
    weight_decay: float = 0.0  # times sum(w^2) / 2, added to the loss
    schedule: Staircase | Linear = field(default_factory=Staircase)

    def fitted_to(self, batch_scale: float, epoch_scale: float) -> ParameterGroup:
        """This group where batches are so many times as large, and there are so many times as many epochs."""
        rate = self.learning_rate * batch_scale if self.optimizer == "sgd" else self.learning_rate
        schedule = self.schedule
        if isinstance(schedule, Linear) and schedule.epochs is not None:
            schedule = replace(schedule, epochs=schedule.epochs * epoch_scale)
        return replace(self, learning_rate=rate, schedule=schedule)
