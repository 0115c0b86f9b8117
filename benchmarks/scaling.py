"""How the pictures a second grow with the ranks, at a fixed batch a rank (weak scaling).

Claimed: N GPUs come close to N times one; so do N CPU ranks of one thread each, as far as there are cores. n: 3 rounds,
in which the sizes take turns as whole torchrun processes; of each run the median over 11 intervals of 10 steps.

    python -m benchmarks.scaling --data-dir data

from the repository's root prints a Markdown table: 1, 2, 4, … ranks on the GPUs where there are any, else on the
processor's cores, and there also one rank with as many threads as there are cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from benchmarks import machine
from benchmarks.flags import add_flags, given_to_training, length, positive, run
from benchmarks.measured_run import TRAINING, seconds_per_step
from benchmarks.spread import spread
from training.errors import UserError


class Size(NamedTuple):
    """A training's processes; `threads` is None on GPUs, where it makes no difference."""

    ranks: int
    threads: int | None


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser("python -m benchmarks.scaling", description=__doc__.split("\n")[0])
    add_flags(described, "a rank and step")
    add = described.add_argument
    add("--ranks", type=_counts, metavar="1,2,4", help="how many ranks (default: 1, 2, 4, … up to the GPUs or cores)")
    add("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="(default: %(default)s)")
    return described


def measure(args: argparse.Namespace) -> None:
    given = [*given_to_training(args), f"--precision={args.precision}"]
    described = machine.describe()
    rates: dict[Size, list[float]] = {size: [] for size in sizes(args.ranks)}
    for number in range(args.rounds):
        for size, measured in rates.items():
            measured.append(size.ranks * args.batch_size / _seconds_per_step(size, given, args.warm_up))
            print(f"round {number + 1}, {size}: {measured[-1]:,.0f} pictures/s", file=sys.stderr)
    print(f"\n{table(rates)}\n\n{described}")
    print(f"{length(args)}; batch {args.batch_size} a rank; precision {args.precision}")


def sizes(counts: Sequence[int] | None) -> list[Size]:
    """What is measured on this machine, in order; `counts` says how many ranks, where the powers of two won't do."""
    gpus = torch.cuda.device_count()
    most = gpus or machine.cores()
    if counts and max(counts) > most:
        raise UserError(f"--ranks {max(counts)} is more than the {most} {'GPUs' if gpus else 'cores'} here.")
    chosen = counts or [2**power for power in range(most.bit_length())]
    if gpus:
        return [Size(ranks, None) for ranks in chosen]
    # A dict, since on a single core the last one is the first again.
    return list(dict.fromkeys([*(Size(ranks, 1) for ranks in chosen), Size(1, most)]))


def table(rates: dict[Size, list[float]]) -> str:
    """Markdown; `rates` in pictures a second, a list over rounds for each size."""
    rows = [
        "| ranks | threads a rank | pictures/s, median (min to max) | of one rank, median (min to max) | efficiency |",
        "|---|---|---|---|---|",
    ]
    for size, measured in rates.items():
        alone = rates.get(Size(1, size.threads and 1))
        ratios = [one / other for one, other in zip(measured, alone, strict=True)] if alone else []
        workers = size.ranks * (size.threads or 1)
        efficiency = f"{100 * statistics.median(ratios) / workers:.0f} %" if ratios else "not measured"
        rows.append(
            f"| {size.ranks} | {size.threads or 'any'} | {spread(measured, ',.0f')} | {spread(ratios, '.2f')} "
            f"| {efficiency} |"
        )
    return "\n".join(rows)


def _seconds_per_step(size: Size, given: Sequence[str], warm_up: int) -> float:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size.ranks}"]  # torchrun
    variables = {"OMP_NUM_THREADS": str(size.threads)} if size.threads else {}
    with TemporaryDirectory(prefix="scaling-") as directory:
        where = f"--run-dir={Path(directory) / 'run'}"
        command = [sys.executable, *launcher, *TRAINING, *given, where]
        return seconds_per_step(command, warm_up, variables)


def _counts(text: str) -> list[int]:
    return [positive(count) for count in text.split(",")]


if __name__ == "__main__":
    sys.exit(run(measure, parser(), sys.argv[1:]))
