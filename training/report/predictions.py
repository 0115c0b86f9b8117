"""What the averaged network says of every test picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.dataset import Dataset
from training.inference import logits_of
from training.network import Network
from training.temperature import evenly_spread, fitted_temperature, held_out


@dataclass(frozen=True, eq=False)
class Predictions:
    """All on the CPU."""

    probabilities: Tensor  # float32 [M, classes]
    labels: Tensor  # int64 [M]
    class_names: tuple[str, ...]
    temperature: float | None  # fitted to them, where the recipe is calibrated
    held_out: Tensor  # float32 [M, classes]: the probabilities at a temperature that was fitted to other pictures

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


@torch.inference_mode()
def predictions(network: Network, dataset: Dataset, device: torch.device) -> Predictions:
    """Of the whole test split, computed as the evaluation and an exported model do; `network` is on the device."""
    labels = dataset.test.labels.cpu()
    logits = torch.cat([part.float().cpu() for part in logits_of(network, dataset.test.images, device)])
    temperature, unseen = None, logits
    if network.recipe.calibrated:
        unseen = held_out(logits, labels)
        fitted = evenly_spread(len(labels))
        temperature = fitted_temperature(logits[fitted], labels[fitted])
        logits = logits / temperature
    probabilities = torch.softmax(logits, dim=1)
    return Predictions(probabilities, labels, dataset.class_names, temperature, torch.softmax(unseen, dim=1))
