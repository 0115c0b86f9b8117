"""What the rest of the program knows of a network, whichever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from training.normalization import NORMALIZATIONS
from training.recipe import Recipe


class Network(nn.Module, ABC):
    """float32 [N, 3, S, S], normalized -> logits [N, classes] (bfloat16 under autocast, else float32).

    S is the recipe's `input_size`.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.normalization = NORMALIZATIONS[recipe.normalization]()
        self.temperature = 1.0  # by which logits are divided for probabilities; below 1 they are surer

    @abstractmethod
    def initialize(self, generator: torch.Generator, images: Tensor) -> Self:
        """Fresh weights, in place, decided by the generator and by uint8 [M, 3, H, W], the training pictures."""

    @abstractmethod
    def parameter_groups(self) -> dict[str, list[Tensor]]:
        """All parameters that are trained, under the names by which recipes call them."""

    @abstractmethod
    def layers(self) -> Mapping[str, nn.Module]:
        """What summaries look at, first to last."""

    @abstractmethod
    def activations(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each layer's activations, from what the `layers` themselves put out."""

    @abstractmethod
    def first_filters(self) -> Tensor:
        """float32 [filters, 3, height, width]: the weights that meet the picture."""

    @abstractmethod
    def quantized_weights(self) -> list[str]:
        """The tensors that are stored as bytes in int8, by their names in this module."""
