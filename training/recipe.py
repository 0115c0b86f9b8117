"""Every hyperparameter, once.

A recipe is data: what is trained, how the pictures are distorted, how the weights start, move and are averaged, how a
picture is looked at in the end. What a run may change without changing what is computed (device, precision,
directories) is not here. To add a recipe, add it to `RECIPES`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from training.plain_data import built
from training.recipe_parts import (
    Distortions,
    Linear,
    ParameterGroup,
    TutorialArchitecture,
    WhitenedArchitecture,
)

UPDATES_AN_EPOCH = 25  # at least: as many as batches of 2,000 make of CIFAR-10
SMALLEST_BATCH = 64  # of a rank, whose means and variances batch normalization can rely on
# Pictures, repetitions counted. A thousand pictures of ten classes taught `fast` 65.4 % in 12,800, 67.9 % in 25,600 and
# 68.1 % in 51,200.
FEWEST_SEEN = 25_600


@dataclass(frozen=True)
class Recipe:
    """The tutorial, to the letter; other recipes replace fields of it."""

    name: str = "tutorial"
    steps: int = 60_000  # updates; 154 epochs at batch 128
    epochs: float | None = None  # if given, `steps` follows from it and from the number of pictures, see `fitted_to`
    batch_size: int = 128  # pictures an update
    # That many on each GPU, as in the tutorial's multi-GPU program; "update": on all together.
    batch_of: Literal["gpu", "update"] = "gpu"
    image_size: int = 32  # pixels a side, of the pictures as they are stored and served
    network: TutorialArchitecture | WhitenedArchitecture = field(default_factory=TutorialArchitecture)
    distortions: Distortions = field(default_factory=Distortions)
    # See normalization.py; "channel": by the training pictures' means and deviations.
    normalization: Literal["picture", "channel"] = "picture"
    label_smoothing: float = 0.0  # share of each label that is spread over all classes
    learning_rate: float = 0.1
    groups: tuple[ParameterGroup, ...] = (
        ParameterGroup("local3", weight_decay=0.004),
        ParameterGroup("local4", weight_decay=0.004),
        ParameterGroup("others"),
    )
    ema_decay: float = 0.9999  # of the weights; less during the first steps, see averages.py; 0: the weights themselves
    test_time_views: str = "one"  # of a picture whose logits are averaged; see views.py
    calibrated: bool = False  # whether confidences are made to match accuracy; see temperature.py

    @property
    def rates_end_with_it(self) -> bool:
        """Whether learning rates fall to zero at the last update, so that a longer training is another one."""
        return any(isinstance(group.schedule, Linear) and group.schedule.epochs is None for group in self.groups)

    @property
    def resizable(self) -> bool:
        """Whether `image_size` may be another: the tutorial's distortions and initial weights are for 32 alone."""
        return self.distortions.crop_size is None

    @property
    def input_size(self) -> int:
        """Pixels a side of what the network sees."""
        return self.distortions.crop_size or self.image_size

    def fitted_to(self, pictures: int, batch_size: int | None = None, ranks: int = 1) -> Recipe:
        """This recipe for so many training pictures and ranks, and for batches of `batch_size` where it is given; once.

        One that counts updates, not epochs, stays as it is but for the batches. Of a small set the batches are smaller,
        so that an epoch has `UPDATES_AN_EPOCH`, and it is gone through until `FEWEST_SEEN` have been seen. Of large
        pictures they are smaller too, so that they take no more memory. SGD's learning rates grow and shrink with the
        batches (the linear scaling rule: Goyal et al., Accurate, Large Minibatch SGD, 2017); Muon's updates are as long
        whatever the batch.
        """
        if self.epochs is None:
            on_all = self.batch_size * ranks if self.batch_of == "gpu" else None
            return self.with_changes(batch_size=batch_size or on_all)
        as_much_memory = self.batch_size * Recipe.image_size**2 // self.image_size**2
        fitting = max(SMALLEST_BATCH * ranks, min(as_much_memory, pictures // UPDATES_AN_EPOCH))
        batch_size = batch_size or min(self.batch_size, fitting)
        scale = batch_size / self.batch_size
        seen = max(self.epochs * pictures, FEWEST_SEEN)
        groups = tuple(group.fitted_to(scale, seen / (self.epochs * pictures)) for group in self.groups)
        return replace(self, steps=math.ceil(seen / batch_size), batch_size=batch_size, groups=groups)

    def with_changes(
        self,
        *,
        steps: int | None = None,
        batch_size: int | None = None,
        image_size: int | None = None,
        learning_rate: float | None = None,
    ) -> Recipe:
        """This recipe with what a command line may change of it, where it is given."""
        changes = {
            "steps": steps,
            "batch_size": batch_size,
            "image_size": image_size,
            "learning_rate": learning_rate,
        }
        return replace(self, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts: what goes into checkpoints, run files and bundles."""
        return asdict(self)


def from_dict(values: dict[str, Any]) -> Recipe:
    """The inverse of `Recipe.as_dict`, also after a trip through JSON (where tuples become lists).

    Raises TypeError, KeyError or ValueError where they are no recipe; see `plain_data.built`.
    """
    return built(Recipe, values)


# Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024 (arXiv:2404.00498), and its successor with Muon,
# airbench94_muon.py, whose numbers these are, all but one; its losses are summed over a batch of 2,000, ours are means
# of it.
FAST = Recipe(
    name="fast",
    steps=225,
    epochs=9,  # there eight, which take an eighth less time and are right less often, see benchmarks/RESULTS.md
    batch_size=2000,
    batch_of="update",
    network=WhitenedArchitecture(),  # its whitening, first weights and norms have their sources in whitened_network.py
    # Moved by up to two pixels, as He et al. moved pictures by four (Deep Residual Learning, 2015, section 4.2).
    distortions=Distortions(crop_size=None, translate=2 / 32, flip="alternating", brightness=0.0, contrast=(1.0, 1.0)),
    normalization="channel",
    label_smoothing=0.2,  # Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2015
    learning_rate=0.24,
    groups=(
        ParameterGroup("filters", "muon", momentum=0.6, schedule=Linear()),
        # Biases that learn faster than weights, one of them for three epochs alone: hlb-CIFAR10, 2023.
        ParameterGroup("norm_biases", "sgd", 0.053 * 2000 / 0.24, 0.85, 2e-6 / 0.053, Linear()),
        ParameterGroup("whitening_bias", "sgd", 0.053 * 2000 / 0.24, 0.85, 2e-6 / 0.053, Linear(epochs=3)),
        ParameterGroup("head", "sgd", 0.67 * 2000 / 0.24, 0.85, 2e-6 / 0.67, Linear()),
    ),
    ema_decay=0.0,
    test_time_views="mirrored and moved",
    calibrated=True,  # smoothed labels teach too little confidence: 70 % on average where 91 % are right
)

# A wider and deeper network, more varied pictures and more time: airbench96 of the same author (PyPI: airbench 0.1.8),
# with Muon where that has SGD.
ACCURATE = replace(
    FAST,
    name="accurate",
    steps=2000,
    epochs=40,
    batch_size=1000,
    network=WhitenedArchitecture(widths=(128, 512, 512), depth=3),
    distortions=replace(FAST.distortions, translate=4 / 32, cutout=12 / 32),
    learning_rate=0.12,  # in a network a quarter as wide, 8 epochs: 85.3 %, and 83.9 % with 0.24
)

RECIPES = {recipe.name: recipe for recipe in (Recipe(), FAST, ACCURATE)}
