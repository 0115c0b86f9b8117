"""The tutorial's network and evaluation, written once more with PyTorch's plainest operators: what ours is held to."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

BATCH = 500


@torch.inference_mode()
def logits(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """weights: a state dict; images: uint8 [N, 3, 32, 32]. Returns float32 [N, classes]."""
    return torch.cat([_logits(weights, part) for part in images.split(BATCH)])


def _logits(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    x = images[:, :, 4:28, 4:28].float()
    pixels = x.flatten(1)
    deviation = pixels.std(dim=1, correction=0).clamp(min=pixels.shape[1] ** -0.5)
    x = (x - pixels.mean(dim=1)[:, None, None, None]) / deviation[:, None, None, None]
    return activations(weights, x)["softmax_linear"]


def activations(weights: Mapping[str, Tensor], x: Tensor) -> dict[str, Tensor]:
    """Layer to what it makes of x, standardized pictures [N, 3, 24, 24]; that of softmax_linear are the logits."""
    found = {"conv1": F.relu(F.conv2d(x, weights["conv1.weight"], weights["conv1.bias"], padding=2))}
    x = _normalized(_pooled(found["conv1"]))
    found["conv2"] = F.relu(F.conv2d(x, weights["conv2.weight"], weights["conv2.bias"], padding=2))
    x = _pooled(_normalized(found["conv2"])).permute(0, 2, 3, 1).flatten(1)
    for layer in ("local3", "local4"):
        x = found[layer] = F.relu(F.linear(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
    return found | {"softmax_linear": F.linear(x, weights["softmax_linear.weight"], weights["softmax_linear.bias"])}


def _pooled(x: Tensor) -> Tensor:
    return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), kernel_size=3, stride=2)


def _normalized(x: Tensor) -> Tensor:
    return F.local_response_norm(x, size=9, alpha=0.001, beta=0.75, k=1.0)
