"""What one update looks like from inside: activations, weights, gradients, pictures, measured where they are.

Source: the tutorial's `_activation_summary`, and the histograms and images that its `train` and `distorted_inputs`
summarize. All is computed on the device, in the update itself, and nothing waits for it: a CUDA graph can hold it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.network import Network
from training.optimizer import Optimizer

BUCKETS = 64  # of equal width, from the least value to the greatest; TensorBoard draws 30
PICTURES = 3  # of the batch; tf.summary.image's default


@dataclass(frozen=True)
class Observation:
    """On the device. Overwritten by the next observed update, where updates are replayed."""

    names: tuple[str, ...]
    """Of T tensors: conv1/activations, conv1/weights, conv1/weights/gradients, …"""
    sizes: tuple[int, ...]
    """How many values each has."""
    moments: Tensor
    """float32 [T, 4]: least, greatest, sum, sum of squares."""
    counts: Tensor
    """float32 [T, BUCKETS]: how many values lie in each part of the range from the least to the greatest."""
    sparsity: Mapping[str, Tensor]
    """Layer to float32 []: the share of its activations that are zero."""
    pictures: Tensor
    """uint8 [PICTURES or fewer, S, S, 3]: as the network got them, the least value of each picture as 0 and its
    greatest as 255. (Standardization leaves no other black and white.)"""


@contextmanager
def watching(network: Network) -> Iterator[dict[str, Tensor]]:
    """Fills the dict with the output of each layer, by its name, when the network runs."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            outputs[name] = output.detach()

        return network.layers()[name].register_forward_hook(hook)

    handles = [keep(name) for name in network.layers()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def observe(network: Network, outputs: Mapping[str, Tensor], images: Tensor, optimizer: Optimizer) -> Observation:
    """Between the backward pass and the update.

    `outputs` is what `watching` kept, images float32 [N, 3, S, S].
    """
    activations = network.activations(outputs)
    watched = {f"{layer}/activations": values for layer, values in activations.items()}
    decays = {weight: group.get("weight_decay", 0.0) for group in optimizer.param_groups for weight in group["params"]}
    for name, weight in network.named_parameters():
        if weight not in decays:
            continue  # a constant
        variable = name.replace(".weight", "/weights").replace(".bias", "/biases")
        watched[variable] = weight
        if weight.grad is not None:
            # SGD adds the L2 terms' part by itself; the tutorial's gradients, of the total loss, have it.
            watched[f"{variable}/gradients"] = weight.grad + decays[weight] * weight
    histograms = [_histogram(values) for values in watched.values()]
    return Observation(
        names=tuple(watched),
        sizes=tuple(values.numel() for values in watched.values()),
        moments=torch.stack([moments for moments, _ in histograms]),
        counts=torch.stack([counts for _, counts in histograms]),
        sparsity={layer: (values == 0).float().mean() for layer, values in activations.items()},
        pictures=_visible(images[:PICTURES]),
    )


def _histogram(values: Tensor) -> tuple[Tensor, Tensor]:
    """float32 [4] and [BUCKETS] of any number of values, in any order."""
    in_memory_order = values.permute(sorted(range(values.dim()), key=values.stride, reverse=True))
    flat = in_memory_order.flatten().float()
    least, greatest = flat.amin(), flat.amax()
    moments = torch.stack([least, greatest, flat.sum(), flat.square().sum()])
    width = greatest - least + (greatest == least)  # if all are equal, any will do
    # With limits that are numbers histc does not wait for the device, as it would to find them, or bincount.
    return moments, torch.histc((flat - least).mul_(BUCKETS / width), BUCKETS, min=0, max=BUCKETS)


def _visible(images: Tensor) -> Tensor:
    least, greatest = images.flatten(1).aminmax(dim=1)
    span = (greatest - least).clamp_min(1e-6)
    shades = (images - least[:, None, None, None]) / span[:, None, None, None]
    return (shades * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
