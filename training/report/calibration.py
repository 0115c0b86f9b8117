"""Whether the network is right as often as it says.

Source: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_calibration_error

from training.report.numbers import percent
from training.report.predictions import Predictions

BINS = 15  # of equal width; the paper's number

_SLIGHT = 0.005  # a difference that nobody would notice


@dataclass(frozen=True, eq=False)
class Calibration:
    pictures: NDArray[np.int64]
    """[BINS]: how many pictures had a confidence from i / BINS up to (i + 1) / BINS."""
    accuracy: NDArray[np.float64]
    """[BINS]: the share of them that was recognized; NaN where there are none."""
    error: float
    """Expected calibration error: the mean distance of confidence and accuracy, over the bins, weighted."""
    mean_confidence: float
    overall_accuracy: float

    def sentence(self) -> str:
        gap = self.mean_confidence - self.overall_accuracy
        if abs(gap) < _SLIGHT:
            verdict = "as confident as it is right"
        else:
            points = f"{100 * abs(gap):.1f} points"
            verdict = f"{'over' if gap > 0 else 'under'}-confident by {points}"
        return (
            f"On average the network is {percent(self.mean_confidence, 1)} sure of its answer and right in "
            f"{percent(self.overall_accuracy, 1)} of the cases: {verdict}."
        )


def calibration(found: Predictions) -> Calibration:
    """Of confidences whose temperature, if any, was fitted to other pictures."""
    confidence, right = found.held_out.amax(dim=1), found.is_correct
    # As torchmetrics bins them: a confidence on an edge belongs to the bin above it, 1 to the last.
    edges = torch.linspace(0, 1, BINS + 1)
    bins = (torch.bucketize(confidence, edges, right=True) - 1).clamp(0, BINS - 1)
    pictures = torch.bincount(bins, minlength=BINS)
    correct = torch.bincount(bins, weights=right.double(), minlength=BINS)
    classes = len(found.class_names)
    error = multiclass_calibration_error(found.held_out, found.labels, num_classes=classes, n_bins=BINS, norm="l1")
    return Calibration(
        pictures=pictures.numpy(),
        accuracy=(correct / pictures).numpy(),
        error=float(error),
        mean_confidence=float(confidence.double().mean()),
        overall_accuracy=found.correct / len(found),
    )
