"""What the averaged network says of every test picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.accuracy import logits_of
from training.dataset import Dataset, Split
from training.network import Network


@dataclass(frozen=True, eq=False)
class Predictions:
    """All on the CPU."""

    probabilities: Tensor  # float32 [M, classes]
    labels: Tensor  # int64 [M]
    class_names: tuple[str, ...]

    @property
    def predicted(self) -> Tensor:
        """int64 [M]: the most probable class of each picture."""
        return self.probabilities.argmax(dim=1)

    @property
    def confidence(self) -> Tensor:
        """float32 [M]: its probability."""
        return self.probabilities.amax(dim=1)

    @property
    def is_correct(self) -> Tensor:
        """bool [M]"""
        return self.predicted == self.labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> int:
        return int(self.is_correct.sum())

    def most_confident_mistakes(self, count: int) -> list[int]:
        """Positions of the wrong pictures whose wrong class is the most probable, that first."""
        wrong = (~self.is_correct).nonzero().flatten()
        order = self.confidence[wrong].argsort(descending=True, stable=True)
        positions: list[int] = wrong[order][:count].tolist()
        return positions


def predictions(network: Network, dataset: Dataset, device: torch.device) -> Predictions:
    """Of the whole test split; `network` is on the device."""
    return Predictions(predict(network, dataset.test, device), dataset.test.labels.cpu(), dataset.class_names)


@torch.inference_mode()
def predict(network: Network, split: Split, device: torch.device) -> Tensor:
    """float32 [M, classes], on the CPU: probabilities of each picture's classes, computed as the evaluation does."""
    logits = logits_of(network, split.images, device)
    return torch.cat([torch.softmax(part.float(), dim=1).cpu() for part in logits])
