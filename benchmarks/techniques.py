"""What each recipe is made of: its techniques, each as the changes that take it away.

Where each comes from stands where it is computed, in training/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Changes = Mapping[str, Any]
"""Paths into a recipe to the values that stand there instead; see recipe_changes.py."""

# airbench94 before Muon, for a loss that is the mean of a batch, as a factor on the recipe's rate.
_SGD = {"optimizer": "sgd", "learning_rate": 12.2, "momentum": 0.85, "weight_decay": 1.33e-3}

_WHITENED: dict[str, Changes] = {
    "random flips instead of alternating ones": {"distortions.flip": "random"},
    "no translation": {"distortions.translate": 0.0},
    "a random first layer that is learned instead of whitening": {"network.whitening": False},
    "PyTorch's initial weights instead of the identity": {"network.dirac": False},
    "SGD instead of Muon": {f"groups.filters.{name}": value for name, value in _SGD.items()},
    "the whitening layer's bias learned to the end": {"groups.whitening_bias.schedule.epochs": None},
    "no label smoothing": {"label_smoothing": 0.0},
    "each picture normalized by itself instead of all channels": {"normalization": "picture"},
    "no test-time views": {"test_time_views": "one"},
}

_ACCURATE: dict[str, Changes] = {
    "no blanked square": {"distortions.cutout": 0.0},
    "moved by two pixels instead of four": {"distortions.translate": 2 / 32},
    "two convolutions a block instead of three, no residual": {"network.depth": 2},
    "as narrow as `fast`": {"network.widths": [64, 256, 256]},
}

TECHNIQUES: Mapping[str, Mapping[str, Changes]] = {"fast": _WHITENED, "accurate": _WHITENED | _ACCURATE}
"""By recipe, then by the row of the table."""
