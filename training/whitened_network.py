"""A small network that learns quickly: a whitening layer, then three blocks of 3x3 convolutions, then one linear layer.

    whitening 2x2x24 - GELU - block1 - block2 - block3 - maximum over the picture - head

A block is conv - 2x2 max-pool - norm - GELU - conv - norm - GELU; of three or more convolutions all but the first are a
residual, which adds to what the first made of its input (He et al., Deep Residual Learning, 2015).
Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024 (arXiv:2404.00498), after tysam-code's
hlb-CIFAR10 (2023) and Page, How to Train Your ResNet (2018). The maximum over the whole picture, which theirs takes
over 3x3, makes it a network for pictures of any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.inference import central_crop
from training.network import Network
from training.recipe import Recipe
from training.recipe_parts import WhitenedArchitecture

PATCH = 2  # pixels a side
PATCHES = 5_000_000  # as many as 5,000 pictures of 32x32 have are enough to know their covariance
LEAST_VARIANCE = 5e-4  # added to each eigenvalue: directions in which patches hardly vary are noise


class WhitenedNetwork(Network):
    """float32 [N, 3, S, S], normalized -> logits [N, classes] (bfloat16 under autocast, else float32); S from 16 up."""

    def __init__(self, recipe: Recipe, architecture: WhitenedArchitecture, classes: int) -> None:
        super().__init__(recipe)
        self._architecture = architecture
        # Each direction, and its opposite, of which GELU passes one on (hlb-CIFAR10; the whitening is Page's).
        whitened = 2 * 3 * PATCH**2
        one, two, three = architecture.widths
        self.whitening = nn.Conv2d(3, whitened, kernel_size=PATCH)
        self.whitening.weight.requires_grad = not architecture.whitening
        self.block1 = _Block(whitened, one, architecture.depth)
        self.block2 = _Block(one, two, architecture.depth)
        self.block3 = _Block(two, three, architecture.depth)
        self.head = nn.Linear(three, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        x = F.gelu(self.whitening(images))
        x = self.block3(self.block2(self.block1(x)))
        x = x.amax(dim=(2, 3))
        # Logits that start small learn faster: Page (2018).
        return self.head(x) / x.shape[1]  # type: ignore[no-any-return]

    def initialize(self, generator: torch.Generator, images: Tensor) -> Self:
        """The pictures decide the whitening."""
        self.normalization.fit(images)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                _uniform(layer.weight, layer.weight[0].numel() ** -0.5, generator)
                if layer.bias is not None:
                    _uniform(layer.bias, layer.weight[0].numel() ** -0.5, generator)
        if self._architecture.dirac:
            for block in self._blocks():
                block.pass_on()
        if self._architecture.whitening:
            with torch.no_grad():
                self.whitening.weight.copy_(self._whitening(images))
        _uniform(self.head.weight, 3**0.5, generator)  # a standard deviation of one
        return self.to(memory_format=torch.channels_last)

    def parameter_groups(self) -> dict[str, list[Tensor]]:
        first = [self.whitening.weight] if self.whitening.weight.requires_grad else []
        assert self.whitening.bias is not None
        return {
            "filters": [*first, *(each for block in self._blocks() for each in block.convolutions.parameters())],
            "norm_biases": [norm.bias for norm in self.modules() if isinstance(norm, _BatchNorm)],
            "whitening_bias": [self.whitening.bias],
            "head": [self.head.weight],
        }

    def layers(self) -> dict[str, nn.Module]:
        """The whitening, the normalized outputs of all convolutions, and the head."""
        blocks = {f"block{number}": block for number, block in enumerate(self._blocks(), 1)}
        norms = {
            f"{name}.conv{position}": norm
            for name, block in blocks.items()
            for position, norm in enumerate(block.norms, 1)
        }
        return {"whitening": self.whitening, **norms, "head": self.head}

    def activations(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """GELU of what each put out, but the head's as it is. (What goes round a residual is not in it.)"""
        return {name: output if name == "head" else F.gelu(output) for name, output in outputs.items()}

    def first_filters(self) -> Tensor:
        return self.whitening.weight

    def quantized_weights(self) -> list[str]:
        return [name for name, weight in self.named_parameters() if name.startswith("block") and weight.dim() == 4]

    def _blocks(self) -> tuple[_Block, _Block, _Block]:
        return self.block1, self.block2, self.block3

    def _whitening(self, images: Tensor) -> Tensor:
        """float32 [24, 3, 2, 2]: the directions in which patches vary, divided by how much, and their opposites."""
        size = self.recipe.input_size
        wanted = max(1, PATCHES // size**2)
        spread = images[:: max(1, len(images) // wanted)][:wanted]
        moments, count = torch.zeros(3 * PATCH**2, 3 * PATCH**2, dtype=torch.float64), 0
        for part in spread.split(max(1, 100_000 // size**2)):
            shades = self.normalization(central_crop(part, size).float().cpu())
            patches = shades.unfold(2, PATCH, 1).unfold(3, PATCH, 1).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
            moments += (patches.T @ patches).double()
            count += len(patches)
        variances, directions = torch.linalg.eigh(moments / count)
        scaled = (directions / (variances + LEAST_VARIANCE).sqrt()).T.reshape(-1, 3, PATCH, PATCH).float()
        return torch.cat([scaled, -scaled])


class _Block(nn.Module):
    """float [N, inputs, H, W] -> [N, outputs, H // 2, W // 2]."""

    def __init__(self, inputs: int, outputs: int, depth: int) -> None:
        super().__init__()
        channels = [inputs] + [outputs] * (depth - 1)
        self.convolutions = nn.ModuleList(nn.Conv2d(each, outputs, 3, padding=1, bias=False) for each in channels)
        self.norms = nn.ModuleList(_BatchNorm(outputs) for _ in channels)

    def forward(self, x: Tensor) -> Tensor:
        others = self.convolutions[1:]
        # Pooling before the normalization leaves it a quarter of the numbers.
        x = straight = F.gelu(self.norms[0](F.max_pool2d(self._first_for_pooling(x), 2)))
        for convolution, norm in zip(others, self.norms[1:], strict=True):
            x = F.gelu(norm(convolution(x)))
        return x + straight if len(others) > 1 else x

    def _first_for_pooling(self, x: Tensor) -> Tensor:
        """What the first convolution makes of x, in training without the last row and column of odd sizes.

        Pooling leaves them out, and of pictures of 32x32 all sizes are odd here: a tenth of the multiplications of
        `fast`. A served graph keeps the same margin on all sides, which every runtime knows.
        """
        first = cast(nn.Conv2d, self.convolutions[0])
        height, width = x.shape[2:]
        if not self.training or (height % 2 == 0 and width % 2 == 0):
            return cast(Tensor, first(x))
        return F.conv2d(F.pad(x, (1, 1 - width % 2, 1, 1 - height % 2)), first.weight)

    def pass_on(self) -> None:
        """As many filters as there are inputs hand one of them on each, the others stay random (Jordan, 2024, 3.3)."""
        with torch.no_grad():
            for weights in self.convolutions.parameters():
                nn.init.dirac_(weights[: weights.shape[1]])


class _BatchNorm(nn.BatchNorm2d):
    """Without factors, which the next layer's weights can take over (Page, 2018).

    The running statistics follow quickly, since a whole training may be 200 updates.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-12, momentum=0.4)
        self.weight.requires_grad = False


@torch.no_grad()
def _uniform(weights: Tensor, bound: float, generator: torch.Generator) -> None:
    nn.init.uniform_(weights, -bound, bound, generator=generator)
