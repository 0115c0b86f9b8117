"""Every hyperparameter, once.

A recipe is data: what is trained, how the pictures are distorted, how the weights start, move and are averaged. What a
run may change without changing what is computed (device, precision, directories) is not here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Distortions:
    """How a training picture is varied (tutorial: `distorted_inputs`)."""

    crop_size: int = 24  # pixels; evaluation takes the central square of the same size
    flip: bool = True  # left to right, for every second picture on average
    brightness: float = 63.0  # added to all pixels of a picture, uniform in [-63, 63), on the scale 0..255
    contrast: tuple[float, float] = (0.2, 1.8)  # factor on the distance from each channel's mean


@dataclass(frozen=True)
class Initialization:
    """Standard deviations of the truncated normals (2 sigma) and the constant biases, first layer to last."""

    conv1: float = 1e-4  # the original's value: the first layer wakes up slowly, within the first thousand steps
    conv2: float = 1e-4
    local3: float = 0.04
    local4: float = 0.04
    softmax_linear: float = 1 / 192  # one over its number of inputs
    biases: tuple[float, float, float, float, float] = (0.0, 0.1, 0.1, 0.1, 0.0)


@dataclass(frozen=True)
class Recipe:
    """The tutorial, to the letter; other recipes replace fields of it."""

    name: str = "tutorial"
    steps: int = 60_000  # updates; 154 epochs at batch 128
    batch_size: int = 128  # pictures an update
    distortions: Distortions = field(default_factory=Distortions)
    initialization: Initialization = field(default_factory=Initialization)
    learning_rate: float = 0.1
    learning_rate_decay: float = 0.1  # factor, staircase
    epochs_per_decay: float = 350.0
    weight_decay: float = 0.004  # times sum(w^2) / 2, added to the loss, local3 and local4 alone
    ema_decay: float = 0.9999  # of the weights; less during the first steps, see averages.py

    def with_changes(
        self, *, steps: int | None = None, batch_size: int | None = None, learning_rate: float | None = None
    ) -> Recipe:
        """This recipe with what a command line may change of it, where it is given."""
        changes = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
        return replace(self, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts: what goes into checkpoints, run files and bundles."""
        return asdict(self)


def from_dict(values: dict[str, Any]) -> Recipe:
    """The inverse of `Recipe.as_dict`, also after a trip through JSON (where tuples become lists).

    Raises TypeError for a key that no recipe has.
    """

    def tuples(part: dict[str, Any]) -> dict[str, Any]:
        return {key: tuple(value) if isinstance(value, list) else value for key, value in part.items()}

    parts = {
        "distortions": Distortions(**tuples(values["distortions"])),
        "initialization": Initialization(**tuples(values["initialization"])),
    }
    return Recipe(**(values | parts))


RECIPES = {recipe.name: recipe for recipe in (Recipe(),)}
