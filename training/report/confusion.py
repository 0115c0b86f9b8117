"""Which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_confusion_matrix

from training.report.predictions import Predictions


class ClassResult(NamedTuple):
    name: str
    pictures: int
    correct: int
    predicted: int
    """How many pictures, of any class, were taken for this one."""

    @property
    def accuracy(self) -> float:
        return self.correct / self.pictures


class ConfusedPair(NamedTuple):
    name: str
    taken_for: str
    mistaken: int
    pictures: int
    """Of the class `name`."""

    @property
    def share(self) -> float:
        return self.mistaken / self.pictures


@dataclass(frozen=True, eq=False)
class Confusion:
    counts: NDArray[np.int64]
    """[classes, classes]: rows are what pictures show, columns what they are taken for."""
    class_names: tuple[str, ...]

    def shares(self) -> NDArray[np.float64]:
        """Each row divided by its sum; NaN in the row of a class without pictures."""
        pictures = self.counts.sum(axis=1, keepdims=True)
        shares = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, pictures, out=shares, where=pictures > 0)
        return shares

    def classes(self) -> list[ClassResult]:
        """In the order of the class names."""
        pictures, predicted = self.counts.sum(axis=1).tolist(), self.counts.sum(axis=0).tolist()
        correct = self.counts.diagonal().tolist()
        return [ClassResult(*row) for row in zip(self.class_names, pictures, correct, predicted, strict=True)]

    def pairs(self, most: int) -> list[ConfusedPair]:
        """The pairs that are confused most often, by share of the class's pictures, then in order."""
        pictures = self.counts.sum(axis=1)
        pairs = [
            ConfusedPair(
                self.class_names[row], self.class_names[column], int(self.counts[row, column]), int(pictures[row])
            )
            for row, column in np.argwhere(self.counts).tolist()
            if row != column
        ]
        return sorted(pairs, key=lambda pair: -pair.share)[:most]


def confusion(found: Predictions) -> Confusion:
    classes = len(found.class_names)
    counts = multiclass_confusion_matrix(found.predicted, found.labels, num_classes=classes)
    return Confusion(counts.numpy(), found.class_names)
