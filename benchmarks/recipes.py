"""Our modern recipes beside airbench, the record that can be installed: accuracy and time, over many seeds.

Claimed: `fast` is 0.26 ± 0.07 points above airbench94 (n = 10 seeds, and 7 of airbench94) in 0.92 (0.91 to 0.93) of its
training time (n = 3): two cores of an AMD EPYC, bf16, torch 2.15.0, the JPEG copy; RESULTS.md. `accurate` beside
airbench96, and GPUs, are still to be measured.

In turns (ours, theirs, ours, …), every training a process of its own: ours is `python -m training train`, airbench's
what it publishes (see peers/airbench_training.py for what that is on a CPU). Training starts after start-up (reading,
compiling, airbench's warm-up) and ends with the last update.

    python -m benchmarks.recipes --recipe fast --data-dir data

from the repository's root prints a Markdown table. airbench is taken from --airbench (a folder that holds it), else
from this environment, else it is installed into a throw-away folder. `CUDA_VISIBLE_DEVICES=` before it measures the CPU
where there is a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import machine, seeds
from benchmarks.airbench_package import REQUIREMENT, airbench_folder, version
from benchmarks.flags import run, some_of
from benchmarks.measured_run import TRAINING, output
from benchmarks.outcome import Outcome, of_run
from benchmarks.outcome_table import table
from benchmarks.seeds import Conditions, Program
from training.dataset import Dataset
from training.errors import UserError
from training.recipe import RECIPES

PROGRAMS = ("ours", "airbench")
GOALS = ("93", "94", "95", "96")  # percent: airbench's four programs
GOAL_OF = {"accurate": "96"}  # which of them a recipe is after, if not
DEFAULT_GOAL = "94"
QUIETLY = ("--summaries=off", "--eval-every=0")


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser("python -m benchmarks.recipes", description=__doc__.split("\n")[0])
    seeds.add_flags(described, 10)
    add = described.add_argument
    add("--only", type=some_of(PROGRAMS), default=PROGRAMS, help=f"some of {','.join(PROGRAMS)} (default: all)")
    help = f"which airbench (default: 96 beside accurate, else {DEFAULT_GOAL})"
    add("--goal", choices=GOALS, help=help)
    add("--airbench", type=Path, metavar="FOLDER", help=f"what holds {REQUIREMENT} (default: $AIRBENCH, else new)")
    return described


def measure(args: argparse.Namespace) -> None:
    conditions = seeds.conditions(args)
    described, notes = machine.describe(), []
    programs: dict[str, Program] = {}
    goal = args.goal or GOAL_OF.get(args.recipe, DEFAULT_GOAL)
    theirs = f"airbench{goal}, {_adaptation(conditions)}"
    with ExitStack() as until_the_end:
        if "ours" in args.only:
            programs[f"ours, {args.recipe}, {conditions.precision}"] = _ours(args, conditions)
        if "airbench" in args.only:
            try:
                package = until_the_end.enter_context(airbench_folder(args.airbench))
                folder = Path(until_the_end.enter_context(TemporaryDirectory(prefix="pictures-")))
                programs[theirs] = _airbench(goal, args, conditions, package, folder)
                notes.append(f"- airbench: {version(package)}")
            except UserError as error:
                notes.append(f"- airbench is not measured: {error}")
        outcomes = seeds.in_turns(programs, args)
    print(f"\n{table(outcomes, theirs, 'program')}\n\n{described}")
    print("\n".join([*notes, seeds.length(args), conditions.facts()]))


def _ours(args: argparse.Namespace, conditions: Conditions) -> Program:
    flags = [f"--recipe={args.recipe}", f"--precision={conditions.precision}", *QUIETLY, *_steps(args)]
    command = [sys.executable, *TRAINING, *flags, *conditions.pictures_flags]

    def train(seed: int) -> Outcome:
        with TemporaryDirectory(prefix="recipes-") as directory:
            run_dir = Path(directory) / "run"
            started = time.perf_counter()
            output([*command, f"--seed={seed}", f"--run-dir={run_dir}"])
            return of_run(run_dir, time.perf_counter() - started)

    recipe = RECIPES[args.recipe].as_dict()
    return Program(train, conditions.identity(program="training", flags=flags, recipe=recipe))


def _airbench(goal: str, args: argparse.Namespace, conditions: Conditions, package: Path, folder: Path) -> Program:
    """airbench is in the folder `package`; its pictures are written into `folder`."""
    write_pictures(conditions.pictures, folder)
    flags = [f"--goal={goal}", f"--precision={conditions.precision}", *_steps(args)]
    command = [sys.executable, "-m", "benchmarks.peers.airbench_training", f"--pictures={folder}", *flags]
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))}

    def train(seed: int) -> Outcome:
        started = time.perf_counter()
        said = output([*command, f"--seed={seed}"], variables)
        process = time.perf_counter() - started
        trained = json.loads(said.splitlines()[-1])
        evaluation = trained["seconds_with_evaluation"] - trained["seconds"]
        return Outcome(trained["accuracy"], trained["seconds"], evaluation, process)

    return Program(train, conditions.identity(program="airbench", version=version(package), flags=flags))


def write_pictures(pictures: Dataset, folder: Path) -> None:
    """`folder`/cifar10/train.pt and test.pt, as airbench itself would write them."""
    (folder / "cifar10").mkdir()
    for name, split in (("train", pictures.train), ("test", pictures.test)):
        images = split.images.permute(0, 2, 3, 1).contiguous()
        content = {"images": images, "labels": split.labels, "classes": list(pictures.class_names)}
        torch.save(content, folder / "cifar10" / f"{name}.pt")


def _steps(args: argparse.Namespace) -> list[str]:
    return [f"--steps={args.steps}"] if args.steps else []


def _adaptation(conditions: Conditions) -> str:
    """What was done to airbench."""
    return f"adapted to the CPU, {conditions.precision}" if conditions.device.type == "cpu" else "as published, fp16"


if __name__ == "__main__":
    sys.exit(run(measure, parser(), sys.argv[1:]))
