"""What summaries cost a training, at the tutorial's frequency of one in a hundred steps.

Claimed: less than 3 % of its time, with all of them. n: 3 rounds, in which `--summaries off`, `scalars` and `full` take
turns as whole processes; of each run 15 hundreds of steps, in each of which the two intervals of ten steps that hold a
summary (its measurement, then its writing) are compared with the median of the eight that don't. So with and without
are seconds apart, and what the machine does otherwise meets both; `off` shows how much of the figure is noise.

    python -m benchmarks.summaries --data-dir data

from the repository's root prints a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import log_lines, machine
from benchmarks.flags import add_data_dir, given_to_training, length, positive, run
from benchmarks.log_lines import Interval
from benchmarks.measured_run import TRAINING, intervals
from benchmarks.spread import spread
from training.choices import SUMMARIES
from training.summaries import EVERY

BEGIN = EVERY // 2  # the step at which a hundred is taken to begin, so that its summary is in its middle
TENS = EVERY // log_lines.EVERY  # intervals in a hundred
MEASURED, WRITTEN = TENS // 2 - 1, TENS // 2  # the intervals that end, and that begin, with a summarized step


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser("python -m benchmarks.summaries", description=__doc__.split("\n")[0])
    add_data_dir(described)
    add = described.add_argument
    add("--rounds", type=positive, default=3, help="how often each is run, in turns (default: %(default)s)")
    add("--hundreds", type=positive, default=15, help="hundreds of steps a run (default: %(default)s)")
    add("--batch-size", type=positive, default=128, help="pictures a step (default: %(default)s)")
    add("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="(default: %(default)s)")
    return described


def measure(args: argparse.Namespace) -> None:
    args.steps, args.warm_up = BEGIN + args.hundreds * EVERY + 1, BEGIN
    given = [*given_to_training(args), f"--precision={args.precision}"]
    described = machine.describe()
    measured: dict[str, list[Interval]] = {summaries: [] for summaries in SUMMARIES}
    for number in range(args.rounds):
        for summaries, gathered in measured.items():
            found = _intervals(summaries, given)
            gathered += found
            print(f"round {number + 1}, {summaries}: {spread(shares(found), '.2%')}", file=sys.stderr)
    print(f"\n{table(measured)}\n\n{described}")
    print(f"{length(args)}; batch {args.batch_size}; precision {args.precision}")


def shares(measured: Sequence[Interval]) -> list[float]:
    """What a summary adds to each hundred steps, as a share of their time without it."""
    found = []
    for first in range(0, len(measured) - TENS + 1, TENS):
        seconds = [interval.seconds for interval in measured[first : first + TENS]]
        with_summary = seconds[MEASURED] + seconds[WRITTEN]
        without = statistics.median(seconds[:MEASURED] + seconds[WRITTEN + 1 :])
        found.append((with_summary - 2 * without) / (TENS * without))
    return found


def table(measured: dict[str, list[Interval]]) -> str:
    """Markdown; the quartiles are over all hundreds of all rounds."""
    rows = ["| --summaries | ms a step, median | added by summaries, median (quartiles) |", "|---|---|---|"]
    for summaries, found in measured.items():
        step = 1000 * statistics.median(interval.seconds / interval.steps for interval in found)
        low, middle, high = statistics.quantiles(shares(found), n=4, method="inclusive")
        rows.append(f"| {summaries} | {step:.2f} | {middle:.2%} ({low:.2%} to {high:.2%}) |")
    return "\n".join(rows)


def _intervals(summaries: str, given: Sequence[str]) -> list[Interval]:
    with TemporaryDirectory(prefix="summaries-") as directory:
        seldom = ["--eval-every=0", "--checkpoint-every=0"]
        where = [f"--run-dir={Path(directory) / 'run'}", f"--summaries={summaries}"]
        return intervals([sys.executable, *TRAINING, *given, *seldom, *where], BEGIN)


if __name__ == "__main__":
    sys.exit(run(measure, parser(), sys.argv[1:]))
