"""Where the time of a training step goes: every operator of the step, by what it is for, beside what hardware allows.

    python -m benchmarks.breakdown --data-dir data

from the repository's root profiles updates of the tutorial's recipe at batch 128 and prints a Markdown table. The limit
of the convolutions and matrix products is their arithmetic at the rate of one large 3x3 convolution, measured in the
same run. n: 50 updates after 20. On a GPU the step is one CUDA graph: there the table is of its kernels.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import machine
from benchmarks.flags import add_data_dir, positive, run
from training import choices, named_datasets
from training.cifar10 import directory
from training.device import choose_device, choose_precision, prepare
from training.loader import Loader
from training.networks import make_network
from training.recipe import RECIPES
from training.step import TrainingStep

WARM_UP, UPDATES = 20, 50
KERNELS = 20  # rows, on a GPU
GIGA_OPERATIONS = {
    "conv1": 0.71 * 2,
    "conv2": 3.77 * 3,
    "fully connected": 0.25 * 3,
}  # at batch 128; 3: and 2 gradients


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser("python -m benchmarks.breakdown", description=__doc__.split("\n")[0])
    add_data_dir(described)
    described.add_argument("--device", choices=choices.DEVICES, default="auto")
    described.add_argument("--precision", choices=choices.PRECISIONS, default=choices.DEFAULT_PRECISION)
    described.add_argument("--updates", type=positive, default=UPDATES, help="(default: %(default)s)")
    return described


def measure(args: argparse.Namespace) -> None:
    described = machine.describe()
    device = choose_device(args.device)
    prepare(device)
    precision = choose_precision(args.precision, device)
    step = _make_step(args, device, precision)
    milliseconds = _undisturbed(step, args.updates, device)
    rows = _kernels(step, args.updates) if device.type == "cuda" else _purposes(step, args.updates)
    limits = _limits(device, precision)
    print(f"| part of the step, {precision} | ms | share | limit, ms |\n|---|---|---|---|")
    for name, spent in [*rows.most_common(), ("between operators: Python, autograd", milliseconds - rows.total())]:
        limit = f"{limits[name]:.2f}" if name in limits else ""
        print(f"| {name} | {spent:.2f} | {100 * spent / milliseconds:.0f} % | {limit} |")
    print(f"| the whole step | {milliseconds:.2f} | 100 % | {sum(limits.values()):.2f} |\n\n{described}")
    print(f"- n: {args.updates} updates, medians")


def _make_step(args: argparse.Namespace, device: torch.device, precision: str) -> TrainingStep:
    recipe = RECIPES[choices.DEFAULT_RECIPE]
    dataset = named_datasets.load("cifar10", directory(args.data_dir))
    network = make_network(recipe, len(dataset.class_names))
    network.initialize(torch.Generator().manual_seed(0), dataset.train.images)
    loader = Loader(dataset.train, recipe, network.normalization, 0, device)
    step = TrainingStep(network, recipe, loader, device, precision, fused=device.type == "cuda")
    for _ in range(WARM_UP):
        step()
    return step


def _undisturbed(step: TrainingStep, updates: int, device: torch.device) -> float:
    return _median_milliseconds(lambda: step().losses.sum().item() if device.type == "cuda" else step(), updates)


def _median_milliseconds(function: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        function()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


class _Clock(TorchDispatchMode):
    """Times every operator, backward too. (PyTorch's profiler made many of them take twice as long.)"""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.updates: defaultdict[str, list[float]] = defaultdict(list)
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def end_update(self) -> None:
        for purpose, seconds in self._seconds.items():
            self.updates[purpose].append(seconds)
        self._seconds.clear()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        began = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        taken = time.perf_counter() - began
        shapes = [list(argument.shape) for argument in args if isinstance(argument, torch.Tensor)]
        self._seconds[_purpose(func.overloadpacket.__name__, shapes)] += taken
        return result


def _purposes(step: TrainingStep, updates: int) -> Counter[str]:
    """Milliseconds an update, by what an operator is for."""
    with _Clock() as clock:
        for _ in range(updates):
            step()
            clock.end_update()
    return Counter({name: 1000 * statistics.median(each) for name, each in clock.updates.items()})


def _purpose(operator: str, shapes: list[list[int]]) -> str:
    if "convolution" in operator:
        return "conv1" if _inputs(shapes) == 3 else "conv2" if _inputs(shapes) == 64 else "LRN"
    if "max_pool2d" in operator:
        return "pooling"
    if operator in ("mm", "addmm"):
        return "fully connected"
    if operator in ("_fused_sgd_", "lerp_"):
        return "SGD and averages"
    if operator in ("relu", "threshold_backward"):
        return "ReLU"
    if operator == "_to_copy":
        return "casts"
    if any(len(shape) == 4 and shape[1] == 64 for shape in shapes):
        return "LRN"
    return "distortions" if any(len(shape) >= 4 for shape in shapes) else "other"


def _inputs(shapes: list[list[int]]) -> int:
    """The input channels of a 5x5 convolution, forward or backward."""
    return next((shape[1] for shape in shapes if len(shape) == 4 and shape[2:] == [5, 5]), 0)


def _kernels(step: TrainingStep, updates: int) -> Counter[str]:
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        for _ in range(updates):
            step()
        torch.cuda.synchronize()
    spent = Counter({event.key: event.self_device_time_total / 1000 / updates for event in profiled.key_averages()})
    return Counter(dict(spent.most_common(KERNELS)))


def _limits(device: torch.device, precision: str) -> dict[str, float]:
    """Milliseconds that the arithmetic takes at the rate of a convolution that is large and of a convenient shape."""
    pictures, channels, size = (256, 512, 32) if device.type == "cuda" else (32, 256, 16)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    images = torch.randn(pictures, channels, size, size, device=device, dtype=dtype)
    weights = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    images, weights = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (images, weights))

    def convolve() -> None:
        torch.nn.functional.conv2d(images, weights, padding=1)[0, 0, 0, 0].item()

    convolve()
    operations = 2 * pictures * size**2 * 9 * channels**2
    rate = operations / _median_milliseconds(convolve, 10)
    return {name: 1e9 * count / rate for name, count in GIGA_OPERATIONS.items()}


if __name__ == "__main__":
    sys.exit(run(measure, parser(), sys.argv[1:]))
