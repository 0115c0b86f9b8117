"""The tutorial's network, layer for layer (`inference` and `loss` of its cifar10.py).

    conv1 5x5x64 - pool1 - norm1 - conv2 5x5x64 - norm2 - pool2 - local3 384 - local4 192 - softmax_linear

Activations live in channels_last memory: it is the fast layout on CPUs and tensor cores, and it makes the flattened
order of pool2 (row, column, channel) the same as TensorFlow's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.local_response_norm import LocalResponseNorm
from training.network import Network
from training.recipe import Recipe
from training.recipe_parts import TutorialArchitecture


class TutorialNetwork(Network):
    """float32 [N, 3, crop, crop], standardized -> logits [N, classes] (bfloat16 under autocast, else float32)."""

    def __init__(self, recipe: Recipe, architecture: TutorialArchitecture, classes: int) -> None:
        super().__init__(recipe)
        self._architecture = architecture
        pooled = -(-recipe.input_size // 4)  # two poolings, each halves and rounds up
        self.conv1 = nn.Conv2d(3, 64, kernel_size=5, padding=2)
        self.norm1 = LocalResponseNorm(64)
        self.conv2 = nn.Conv2d(64, 64, kernel_size=5, padding=2)
        self.norm2 = LocalResponseNorm(64)
        self.local3 = nn.Linear(pooled * pooled * 64, 384)
        self.local4 = nn.Linear(384, 192)
        self.softmax_linear = nn.Linear(192, classes)

    def forward(self, images: Tensor) -> Tensor:
        # The tutorial has the ReLU before pool1. The order makes no difference to a maximum, nor to its gradient, and
        # a quarter of the numbers are left after it.
        x = F.relu(_max_pool(self.conv1(images)))
        x = self.norm1(x)
        x = F.relu(self.conv2(x))
        x = _max_pool(self.norm2(x))
        x = x.permute(0, 2, 3, 1).flatten(1)
        x = F.relu(self.local3(x))
        x = F.relu(self.local4(x))
        return self.softmax_linear(x)  # type: ignore[no-any-return]

    def layers(self) -> dict[str, nn.Conv2d | nn.Linear]:
        """The five layers with weights, first to last, under the tutorial's names."""
        named = self.named_children()
        return {name: layer for name, layer in named if isinstance(layer, nn.Conv2d | nn.Linear)}

    def activations(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the tutorial calls a layer's activations, from what the layers themselves put out: their ReLU, but the
        last layer's as it is."""
        return {name: output if name == "softmax_linear" else F.relu(output) for name, output in outputs.items()}

    def first_filters(self) -> Tensor:
        return self.conv1.weight

    def quantized_weights(self) -> list[str]:
        # The preprocessing, the first and the last layer stay in float32: in int8 they change more answers and save no
        # time. The normalizations' bands change hardly any, and save a sixth of the time.
        return ["norm1.band", "conv2.weight", "norm2.band", "local3.weight", "local4.weight"]

    def parameter_groups(self) -> dict[str, list[Tensor]]:
        """The weights (not the biases) of local3 and local4, which decay, and all others."""
        decayed = (self.local3.weight, self.local4.weight)
        others: list[Tensor] = [each for each in self.parameters() if all(each is not weight for weight in decayed)]
        return {"local3": [self.local3.weight], "local4": [self.local4.weight], "others": others}

    def initialize(self, generator: torch.Generator, images: Tensor) -> Self:
        """Decided by the generator alone."""
        self.normalization.fit(images)
        start = self._architecture
        deviations = (start.conv1, start.conv2, start.local3, start.local4, start.softmax_linear)
        for layer, std, bias in zip(self.layers().values(), deviations, start.biases, strict=True):
            # tf.truncated_normal draws again beyond two standard deviations.
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std, generator=generator)
            nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
        return self.to(memory_format=torch.channels_last)


def _max_pool(x: Tensor) -> Tensor:
    # SAME padding of an even map: a row and a column at the bottom and right only, which is what ceil_mode does.
    return F.max_pool2d(x, kernel_size=3, stride=2, ceil_mode=True)
