"""The tutorial's training step in plain PyTorch, as written in an afternoon: what `training` is measured against.

Dataset and DataLoader with a worker process a core, torchvision's transforms on one picture after another,
nn.LocalResponseNorm, nn.MaxPool2d, torch.optim.SGD, AveragedModel. It computes what `training` computes and runs in
the same environment.

    python -m benchmarks.peers.plain_pytorch --data-dir data

prints the tutorial's log lines. Whole processes are timed by benchmarks/train_step.py.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks import log_lines
from benchmarks.peers.pictures import training_pictures

WEIGHT_DECAY = 0.004


class Pictures(Dataset[tuple[Tensor, int]]):
    """The training pictures, distorted anew whenever they are asked for: float32 [3, 24, 24] and a label."""

    def __init__(self, data_dir: Path) -> None:
        images, labels = training_pictures(data_dir)
        self.images, self.labels = torch.from_numpy(images), labels.tolist()
        self.distort = v2.Compose(
            [
                v2.RandomCrop(24),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32),
                v2.Lambda(_random_brightness),
                v2.Lambda(_random_contrast),
                v2.Lambda(_standardize),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.distort(self.images[index]), self.labels[index]


def _random_brightness(image: Tensor) -> Tensor:
    return image + torch.empty(()).uniform_(-63, 63)


def _random_contrast(image: Tensor) -> Tensor:
    mean = image.mean(dim=(1, 2), keepdim=True)
    return (image - mean) * torch.empty(()).uniform_(0.2, 1.8) + mean


def _standardize(image: Tensor) -> Tensor:
    deviation = image.std(correction=0).clamp(min=image.numel() ** -0.5)
    return (image - image.mean()) / deviation


class Network(nn.Sequential):
    """float32 [N, 3, 24, 24] -> logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__(
            self._initialized(nn.Conv2d(3, 64, 5, padding=2), 1e-4, 0.0),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1.0),
            self._initialized(nn.Conv2d(64, 64, 5, padding=2), 1e-4, 0.1),
            nn.ReLU(),
            nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1.0),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            nn.Flatten(),
            self._initialized(nn.Linear(64 * 6 * 6, 384), 0.04, 0.1),
            nn.ReLU(),
            self._initialized(nn.Linear(384, 192), 0.04, 0.1),
            nn.ReLU(),
            self._initialized(nn.Linear(192, 10), 1 / 192, 0.0),
        )

    @staticmethod
    def _initialized(layer: nn.Conv2d | nn.Linear, deviation: float, bias: float) -> nn.Module:
        nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
        return layer

    def weight_decay(self) -> Tensor:
        """The L2 term of the two layers that have one."""
        local3, local4, _ = (layer for layer in self if isinstance(layer, nn.Linear))
        return WEIGHT_DECAY * (local3.weight.square().sum() + local4.weight.square().sum()) / 2


def _average(average: Tensor, weight: Tensor, updates: Tensor | int) -> Tensor:
    # All on the device: a Python number would make the host wait for it at every step.
    decay = torch.clamp(torch.as_tensor((1 + updates) / (10 + updates)), max=0.9999)
    return torch.lerp(average, weight, 1 - decay)


def endless(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


def train(args: argparse.Namespace) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pictures = Pictures(args.data_dir)
    loader = DataLoader(
        pictures,
        args.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=args.workers,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )
    network = Network().to(device)
    averages = AveragedModel(network, avg_fn=_average)
    averages.update_parameters(network)  # the first call only copies; the averages begin at the initial weights
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, int(len(pictures) / args.batch_size * 350), gamma=0.1)
    average_loss = torch.zeros((), device=device)
    log = log_lines.LogLines(args.batch_size)

    for step, (images, labels) in zip(range(args.steps), endless(loader), strict=False):
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16"):
            logits = network(images)
        loss = F.cross_entropy(logits.float(), labels) + network.weight_decay()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        averages.update_parameters(network)
        average_loss.lerp_(loss.detach(), 0.1)
        if step % log_lines.EVERY == 0:
            log.print(step, loss.item())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.peers.plain_pytorch", description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder that holds cifar-10-batches-bin")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="(default: one a core)")
    train(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
