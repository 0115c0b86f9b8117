"""The flags that the benchmarks share, and where they find the pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from benchmarks import log_lines
from training import cifar10
from training.errors import UserError

Measure = Callable[[argparse.Namespace], None]
SHORTEST = 2 * log_lines.EVERY  # steps after the warm-up: one interval between log lines at least


def run(measure: Measure, described: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """The exit status of a benchmark; an error that a person can mend is one sentence."""
    try:
        measure(described.parse_args(arguments))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.status
    return 0


def add_flags(described: argparse.ArgumentParser, batch_of: str) -> None:
    """`batch_of` completes "pictures …" in the help."""
    add_data_dir(described)
    add = described.add_argument
    add("--rounds", type=positive, default=3, help="how often each is run, in turns (default: %(default)s)")
    add("--steps", type=positive, default=161, help="steps a run (default: %(default)s)")
    add("--warm-up", type=positive, default=50, help="steps at the start that are not counted (default: %(default)s)")
    add("--batch-size", type=positive, default=128, help=f"pictures {batch_of} (default: %(default)s)")


def add_data_dir(described: argparse.ArgumentParser) -> None:
    help = "the folder that holds cifar-10-batches-bin (default: $CIFAR10_DIR, else data)"
    described.add_argument("--data-dir", type=Path, help=help)


def positive(text: str) -> int:
    """For argparse: a whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def some_of(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """For argparse: names from among these, with commas between them."""

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return parse


def given_to_training(args: argparse.Namespace) -> list[str]:
    """The flags that every measured program gets. Raises UserError where CIFAR-10 is missing or a run too short."""
    if args.steps < args.warm_up + SHORTEST:
        least = args.warm_up + SHORTEST
        raise UserError(f"--steps {args.steps} is too short; with --warm-up {args.warm_up} it takes {least} or more.")
    data_dir = cifar10.directory(args.data_dir).absolute()
    cifar10.check(data_dir)
    return [f"--data-dir={data_dir}", f"--steps={args.steps}", f"--batch-size={args.batch_size}"]


def length(args: argparse.Namespace) -> str:
    """For the list below a table."""
    return f"- rounds: {args.rounds} of {args.steps} steps, the first {args.warm_up} left out"
