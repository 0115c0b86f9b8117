"""Where the time of a training step goes: every operator of the step, by what it is for, beside what hardware allows.

    python -m benchmarks.breakdown --data-dir data

from the repository's root profiles updates of the tutorial's recipe at batch 128 and prints a Markdown table. The limit
of the convolutions and matrix products is their arithmetic at the rate of one large matrix product, measured in the
same run. n: 50 updates after 20. On a GPU the step is one CUDA graph: there the table is of its kernels.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import machine
from benchmarks.flags import add_data_dir, positive
from training import choices, named_datasets
from training.cifar10 import directory
from training.device import choose_device, choose_precision, prepare
from training.errors import UserError
from training.loader import Loader
from training.network import Network
from training.recipe import RECIPES
from training.step import TrainingStep

WARM_UP, UPDATES = 20, 50
KERNELS = 20  # rows, on a GPU
GIGA_OPERATIONS = {
    "conv1": 0.71 * 2,
    "conv2": 3.77 * 3,
    "fully connected": 0.25 * 3,
}  # at batch 128; 3: and 2 gradients


def main(arguments: Sequence[str]) -> int:
    try:
        measure(parser().parse_args(arguments))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.status
    return 0


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
    for name, spent in [*rows.most_common(), ("between operators", milliseconds - rows.total())]:
        limit = f"{limits[name]:.2f}" if name in limits else ""
        print(f"| {name} | {spent:.2f} | {100 * spent / milliseconds:.0f} % | {limit} |")
    print(f"| the whole step | {milliseconds:.2f} | 100 % | {sum(limits.values()):.2f} |\n\n{described}")
    print(f"- n: the median of {args.updates} updates for the whole step, the mean of as many, profiled, for its parts")


def _make_step(args: argparse.Namespace, device: torch.device, precision: str) -> TrainingStep:
    recipe = RECIPES[choices.DEFAULT_RECIPE]
    dataset = named_datasets.load("cifar10", directory(args.data_dir))
    network = Network(recipe, len(dataset.class_names))
    network.initialize(recipe.initialization, torch.Generator().manual_seed(0))
    loader = Loader(dataset.train, recipe, 0, device)
    step = TrainingStep(network, recipe, loader, device, precision, fused=device.type == "cuda")
    for _ in range(WARM_UP):
        step()
    return step


def _undisturbed(step: TrainingStep, updates: int, device: torch.device) -> float:
    return _median_milliseconds(lambda: step().sum().item() if device.type == "cuda" else step(), updates)


def _median_milliseconds(function: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        function()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


def _purposes(step: TrainingStep, updates: int) -> Counter[str]:
    """Milliseconds an update, by what an operator is for: its own time, without that of the operators that it calls."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        for _ in range(updates):
            step()
    spent: Counter[str] = Counter()
    for event in profiled.key_averages(group_by_input_shape=True):
        if event.key.startswith("aten::"):
            spent[_purpose(event.key, event.input_shapes)] += event.self_cpu_time_total / 1000 / updates
    return spent


def _purpose(operator: str, shapes: list[list[int]]) -> str:
    if "convolution" in operator:
        return {3: "conv1", 75: "conv1"}.get(_inputs(shapes), "conv2" if [64, 64, 5, 5] in shapes else "LRN")
    if "max_pool2d" in operator:
        return "pooling"
    if operator in ("aten::mm", "aten::addmm"):
        return "fully connected"
    if operator in ("aten::_fused_sgd_", "aten::lerp_"):
        return "SGD and averages"
    if operator in ("aten::rsqrt", "aten::sqrt", "aten::mul", "aten::mul_", "aten::div_", "aten::addcmul"):
        return "LRN" if _holds_activations(shapes) else "other"
    if operator in ("aten::clamp_min", "aten::threshold_backward"):
        return "ReLU"
    if operator == "aten::copy_":
        return "casts and copies"
    return "filling with zeros" if operator == "aten::fill_" else "other"


def _inputs(shapes: list[list[int]]) -> int:
    """The input channels of a 5x5 convolution, forward or backward."""
    return next((shape[1] for shape in shapes if len(shape) == 4 and shape[2:] == [5, 5]), 0)


def _holds_activations(shapes: list[list[int]]) -> bool:
    return any(len(shape) == 4 and shape[1] == 64 for shape in shapes)


def _kernels(step: TrainingStep, updates: int) -> Counter[str]:
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        for _ in range(updates):
            step()
        torch.cuda.synchronize()
    spent = Counter({event.key: event.self_device_time_total / 1000 / updates for event in profiled.key_averages()})
    return Counter(dict(spent.most_common(KERNELS)))


def _limits(device: torch.device, precision: str) -> dict[str, float]:
    """Milliseconds that the arithmetic takes at the rate of a large matrix product."""
    size = 8192 if device.type == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    matrix = torch.randn(size, size, device=device, dtype=dtype)

    def multiply() -> None:
        (matrix @ matrix)[0, 0].item()

    multiply()
    rate = 2 * size**3 / _median_milliseconds(multiply, 10)  # operations a millisecond
    return {name: 1e9 * operations / rate for name, operations in GIGA_OPERATIONS.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
