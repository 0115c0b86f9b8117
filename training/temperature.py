"""Temperature scaling: one divisor for all logits, so that of answers given with 80 % confidence 80 % are right.

Source: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017, section 4.2. It is fitted to test
pictures, since there is no third split and a network knows those that it was trained on by heart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.dataset import Split
from training.inference import logits_of
from training.network import Network

PICTURES = 2_000  # at most, evenly spread over the split: a single number needs no more
CAUTION = 2.0  # weighs as about as many pictures for the network's own confidences
HIGHEST_FACTOR = 64.0  # between the network's own confidences and what becomes of them, either way
HALVINGS = 20  # of the interval in which the factor is looked for


@torch.inference_mode()
def calibrate(network: Network, split: Split, device: torch.device) -> None:
    """Gives `network`, which is on the device and in evaluation mode, the temperature that fits the split best.

    Only where its recipe is `calibrated`. Classes stay in their order, so what is recognized stays the same.
    """
    if not network.recipe.calibrated:
        return
    fitted = evenly_spread(len(split))
    network.temperature = 1.0
    logits = torch.cat([part.cpu() for part in logits_of(network, split.images[fitted], device)])
    network.temperature = fitted_temperature(logits, split.labels[fitted].cpu())


def evenly_spread(pictures: int) -> slice:
    """Which of so many pictures the temperature is fitted to."""
    return slice(None, None, max(1, -(-pictures // PICTURES)))


def held_out(logits: Tensor, labels: Tensor) -> Tensor:
    """Calibrated without having been seen: of float [M, classes], each half is divided by what fits the other half.

    Every second picture is of one half. labels: int64 [M].
    """
    calibrated = torch.empty_like(logits)
    halves = slice(0, None, 2), slice(1, None, 2)
    for mine, other in (halves, halves[::-1]):
        fitted = evenly_spread(len(labels[other]))
        calibrated[mine] = logits[mine] / fitted_temperature(logits[other][fitted], labels[other][fitted])
    return calibrated


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """The most probable temperature, to three decimals, for float [M, classes] and int64 [M].

    What the logits are multiplied by, 1 / temperature, is believed to be 1 before a picture is seen: a gamma
    distribution with its mode there. So a few pictures that are all recognized do not make a network certain. The
    negative log-likelihood is convex in that factor; its derivative is what is brought to zero.
    """
    if not logits.isfinite().all():
        return 1.0
    logits = logits.double()
    of_labels = logits.gather(1, labels[:, None]).sum()
    low, high = 1 / HIGHEST_FACTOR, HIGHEST_FACTOR
    for _ in range(HALVINGS):
        factor = math.sqrt(low * high)
        expected = (torch.softmax(logits * factor, dim=1) * logits).sum()
        if float(expected - of_labels) + CAUTION * (1 - 1 / factor) > 0:
            high = factor
        else:
            low = factor
    return round(1 / math.sqrt(low * high), 3)
