"""One training of airbench, the record on CIFAR-10 that can be installed: what the recipes are measured against.

Keller Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", https://arxiv.org/abs/2404.00498. On a GPU it runs as
published: a warm-up, then a training, in float16. It knows nothing but GPUs. For a CPU this program changes what stands
around it, and neither what is computed nor in which order:

- Weights and pictures are in float32 where it has float16, which CPUs multiply slowly.
- With --precision bf16 the network computes convolutions and matrix products in bfloat16, as ours does.
- Time is a clock's, where it has CUDA's events.
- Memory that tensors free is kept, as ours does: PyTorch does so on a GPU by itself.
- It leaves out the evaluations after each epoch, which airbench's own time leaves out too.
- The warm-up, whose time does not count, is a few updates instead of a whole training: there is nothing to compile.

    python -m benchmarks.peers.airbench_training --pictures FOLDER

where FOLDER/cifar10 holds train.pt and test.pt as airbench writes them. The last line is a JSON object, see `Trained`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import airbench  # type: ignore[import-not-found]
import torch
from torch import Tensor, nn

from training.heap import keep_freed_memory

WARM_UP_ON_CPU = 2  # updates


class Trained(NamedTuple):
    """All by airbench's own clock, which starts before the first layer is whitened, after the pictures are loaded."""

    accuracy: float
    """Of the final evaluation, with its test-time views."""
    seconds: float
    """Of training, until the last update is done."""
    seconds_with_evaluation: float
    """And of the final evaluation: the time that airbench's table ends with."""


class Table:
    """Takes airbench's table, line by line, as it is printed."""

    def __init__(self) -> None:
        self._print = airbench.utils.print_training_details
        self._seconds: list[float] = []
        self._accuracy = math.nan

    def add(self, variables: dict[str, Any], is_final_entry: bool) -> None:
        """Called in place of `print_training_details`, with the variables of airbench's `train`."""
        self._seconds.append(variables["total_time_seconds"])
        self._accuracy = variables.get("tta_val_acc", math.nan)
        self._print(variables, is_final_entry)

    def trained(self) -> Trained:
        """Of the training that ended last."""
        return Trained(self._accuracy, *self._seconds[-2:])


class Clock:
    """What torch.cuda.Event is on a GPU."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing
        self._time = math.nan

    def record(self) -> None:
        self._time = time.perf_counter()

    def elapsed_time(self, later: Clock) -> float:
        """Milliseconds."""
        return 1000 * (later._time - self._time)


def adapt_to_cpu() -> None:
    """Changes PyTorch and airbench for this whole process."""
    keep_freed_memory()
    evaluate, load = airbench.utils.evaluate, airbench.utils.CifarLoader.__init__

    def evaluate_at_the_end(model: nn.Module, loader: Any, tta_level: int) -> float:
        """With the test-time views; after an epoch airbench asks for none."""
        return float(evaluate(model, loader, tta_level)) if tta_level else math.nan

    replacements: list[tuple[Any, str, Any]] = [
        (Tensor, "half", Tensor.float),
        (nn.Module, "half", nn.Module.float),
        (nn.Module, "cuda", lambda module: module),
        (torch.cuda, "Event", Clock),
        (torch.cuda, "synchronize", lambda: None),
        (load, "__defaults__", (*load.__defaults__[:-1], "cpu")),  # its last argument is the GPU's number
        (airbench.utils, "evaluate", evaluate_at_the_end),
    ]
    for owner, name, replacement in replacements:
        setattr(owner, name, replacement)


def in_bfloat16(make_net: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Makes networks that compute in bfloat16 what PyTorch's autocast says; weights and logits are float32."""

    def make() -> nn.Module:
        net = make_net()
        forward = net.forward

        def cast(inputs: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                logits: Tensor = forward(inputs)
            return logits.float()

        net.forward = cast
        return net

    return make


def train(goal: str, seed: int, steps: int | None, precision: str) -> Trained:
    """`steps`: as many as airbench's own where it is None. `precision`: of a CPU."""
    make_net = getattr(airbench, f"make_net{goal}")
    length = {} if steps is None else epochs(goal, steps)
    settings: dict[str, Any] = {}
    warm_up = length
    if not torch.cuda.is_available():
        adapt_to_cpu()
        settings["make_net"] = in_bfloat16(make_net) if precision == "bf16" else make_net
        warm_up = epochs(goal, WARM_UP_ON_CPU)
    table = Table()
    airbench.utils.print_training_details = table.add
    getattr(airbench, f"warmup{goal}")(**settings, **warm_up)
    torch.manual_seed(seed)
    getattr(airbench, f"train{goal}")(**settings, **length)
    return table.trained()


def epochs(goal: str, steps: int) -> dict[str, float]:
    """What airbench takes for so many updates: it rounds up to whole ones, an epoch has its whole batches."""
    batch_size = getattr(airbench, f"lib_airbench{goal}").hyp["opt"]["batch_size"]
    pictures = len(torch.load("cifar10/train.pt", mmap=True)["labels"])
    return {"epochs": (steps - 0.5) / (pictures // batch_size)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.peers.airbench_training", description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=Path, required=True, help="the folder that holds the folder cifar10")
    parser.add_argument("--goal", default="94", help="93, 94, 95 or 96 percent (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="updates (default: as published)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="on a CPU (default: %(default)s)")
    args = parser.parse_args(arguments)
    os.chdir(args.pictures)  # where airbench looks for them
    print(json.dumps(train(args.goal, args.seed, args.steps, args.precision)._asdict()))


if __name__ == "__main__":
    main()
