"""The train step as users run it, beside TensorFlow's and a plain PyTorch one's, on the same pictures at batch 128.

Claimed: on two CPU cores at most 0.5 of TensorFlow's time a step in bf16, and no more than its time in fp32. A step is
everything between two log lines: distortion, forward, backward, update, averages, logging. n: 3 rounds, in which the
programs take turns as whole processes; of each run the median over 11 intervals of 10 steps.

    python -m benchmarks.train_step --data-dir data

from the repository's root prints a Markdown table. With --tensorflow-python (a Python that has TensorFlow 2.21) or
without, in which case TensorFlow goes into a throw-away environment first. `taskset -c 0` before it measures one core,
`CUDA_VISIBLE_DEVICES=` the CPU where there is a GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import machine
from benchmarks.flags import add_flags, given_to_training, length, run, some_of
from benchmarks.measured_run import TRAINING, seconds_per_step
from benchmarks.spread import spread
from benchmarks.tensorflow_environment import tensorflow_python, version
from training.errors import UserError

PROGRAMS = ("ours", "tensorflow", "pytorch")
PRECISIONS = ("fp32", "bf16")  # bf16: convolutions and matrix products in bfloat16, in all programs
BASELINE = "TensorFlow, fp32"  # as the tutorial computes
Program = Callable[[Sequence[str], int], float]  # (what every program is given, warm-up) -> seconds a step


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser("python -m benchmarks.train_step", description=__doc__.split("\n")[0])
    add_flags(described, "a step")
    add = described.add_argument
    add("--only", type=some_of(PROGRAMS), default=PROGRAMS, help=f"some of {','.join(PROGRAMS)} (default: all)")
    add("--tensorflow-python", metavar="PATH", help="a Python with TensorFlow (default: $TENSORFLOW_PYTHON, else new)")
    return described


def measure(args: argparse.Namespace) -> None:
    given = given_to_training(args)
    described = machine.describe()
    with ExitStack() as until_the_end:
        programs, notes, versions = _prepared(args, until_the_end)
        times: dict[str, list[float]] = {name: [] for name in programs}
        for number in range(args.rounds):
            for name, program in programs.items():
                times[name].append(program(given, args.warm_up))
                print(f"round {number + 1}, {name}: {times[name][-1] * 1000:.2f} ms a step", file=sys.stderr)
    print("\n".join(["", table(times, notes), "", described, *versions]))
    print(f"{length(args)}; batch {args.batch_size}")


def table(times: dict[str, list[float]], notes: Sequence[str]) -> str:
    """Markdown; `times` in seconds a step, a list over rounds for each program. `notes` are rows of their own."""
    rows = ["| program | ms a step, median (min to max) | of TensorFlow's time, median (min to max) |", "|---|---|---|"]
    baseline = times.get(BASELINE)
    for name, seconds in times.items():
        ratios = [one / other for one, other in zip(seconds, baseline, strict=True)] if baseline else []
        rows.append(f"| {name} | {spread([1000 * value for value in seconds], '.2f')} | {spread(ratios, '.2f')} |")
    return "\n".join([*rows, *notes])


def _prepared(args: argparse.Namespace, until_the_end: ExitStack) -> tuple[dict[str, Program], list[str], list[str]]:
    """What is to be run, by name; a row for what cannot be; TensorFlow's version for the list below the table."""
    programs: dict[str, Program] = {}
    notes, versions = [], []
    if "ours" in args.only:
        programs |= {f"ours, {precision}": _ours(precision) for precision in PRECISIONS}
    if "tensorflow" in args.only:
        try:
            python = until_the_end.enter_context(tensorflow_python(args.tensorflow_python))
            programs |= {f"TensorFlow, {each}": _peer(python, "tensorflow_step", each) for each in PRECISIONS}
            versions.append(f"- TensorFlow: {version(python)}")
        except UserError as error:
            notes.append(f"| TensorFlow | not measured: {error} | |")
    if "pytorch" in args.only:
        programs |= {f"plain PyTorch, {each}": _peer(sys.executable, "plain_pytorch", each) for each in PRECISIONS}
    return programs, notes, versions


def _ours(precision: str) -> Program:
    def run(given: Sequence[str], warm_up: int) -> float:
        with TemporaryDirectory(prefix="train-step-") as directory:
            where = f"--run-dir={Path(directory) / 'run'}"
            command = [sys.executable, *TRAINING, *given, where, f"--precision={precision}"]
            return seconds_per_step(command, warm_up)

    return run


def _peer(python: str, module: str, precision: str) -> Program:
    command = [python, "-m", f"benchmarks.peers.{module}", f"--precision={precision}"]
    return lambda given, warm_up: seconds_per_step([*command, *given], warm_up)


if __name__ == "__main__":
    sys.exit(run(measure, parser(), sys.argv[1:]))
