"""What each technique of a recipe is worth: the recipe as it is, and without one technique after another.

Claimed: nothing but the table itself. n: 3 seeds each, in turns, every training a process of its own, on the same
pictures; accuracy, time, and both beside those of the recipe as it is.

    python -m benchmarks.ablations --recipe fast --data-dir data
    python -m benchmarks.ablations --recipe fast --only 'no label smoothing' --seeds 10
    python -m benchmarks.ablations --recipe fast --change 'label_smoothing=0.1' --change 'batch_size=1000 steps=400'
    python -m benchmarks.ablations --recipe accurate --with 'network.widths=[32,96,128] epochs=8'

from the repository's root prints a Markdown table. The techniques are in techniques.py; with --change only those
changes are measured, each a row, by paths into the recipe as training/recipe.py names its fields. With --with all rows
are, the first too: what a machine cannot train whole, it can train smaller.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import machine, seeds
from benchmarks.flags import run
from benchmarks.outcome import DIVERGED, Outcome, of_run
from benchmarks.outcome_table import table
from benchmarks.recipe_changes import changed, parsed
from benchmarks.seeds import Program
from benchmarks.techniques import TECHNIQUES, Changes
from training.device import prepare
from training.errors import Diverged, UserError
from training.loop import Run, Settings
from training.recipe import RECIPES, Recipe
from training.run_directory import RunDirectory


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser("python -m benchmarks.ablations", description=__doc__.split("\n")[0])
    seeds.add_flags(described, 3)
    help = "the recipe with these values, in every row"
    described.add_argument("--with", dest="base", type=_changes, metavar="'PATH=VALUE …'", help=help)
    some = described.add_mutually_exclusive_group()
    some.add_argument("--only", action="append", metavar="TECHNIQUE", help="without this one; can be repeated")
    help = "with these values of the recipe instead; can be repeated"
    some.add_argument("--change", action="append", type=_changes, metavar="'PATH=VALUE …'", help=help)
    return described


def measure(args: argparse.Namespace) -> None:
    conditions = seeds.conditions(args)
    recipe = _base(args).fitted_to(len(conditions.pictures.train))
    recipes = variants(recipe.with_changes(steps=args.steps), _chosen(args))
    described = machine.describe()

    def program(recipe: Recipe) -> Program:
        identity = conditions.identity(program="ablations", recipe=recipe.as_dict())
        return Program(lambda seed: _apart(recipe, seed, args), identity)

    baseline, *_ = recipes
    outcomes = seeds.in_turns({name: program(recipe) for name, recipe in recipes.items()}, args)
    print(f"\n{table(outcomes, baseline, 'recipe')}\n\n{described}\n{seeds.length(args)}")
    print(f"{conditions.facts()}\n- precision: {conditions.precision}")


def variants(recipe: Recipe, rows: Mapping[str, Changes]) -> dict[str, Recipe]:
    """The recipe as it is, and with the changes of each row. Raises UserError where one does not fit it."""
    return {f"{recipe.name}, as it is": recipe} | {name: changed(recipe, changes) for name, changes in rows.items()}


def train(recipe: Recipe, seed: int, args: argparse.Namespace) -> tuple[float, float, float]:
    """Accuracy, and seconds of training and of evaluation; silently. For a process of its own."""
    conditions = seeds.conditions(args)
    device, precision = conditions.device, conditions.precision
    prepare(device)
    on_gpu = device.type == "cuda"
    settings = Settings(recipe, seed, device, precision, eval_every=0, fused=on_gpu, summaries="off")
    with TemporaryDirectory(prefix="ablations-") as directory, open(os.devnull, "w") as nowhere:
        run_dir = RunDirectory(Path(directory) / "run")
        run_dir.open_for_training(resume=False, overwrite=False)
        with contextlib.redirect_stdout(nowhere):
            Run(settings, conditions.pictures, run_dir).train()
        return of_run(run_dir.path, 0)[:3]


def _apart(recipe: Recipe, seed: int, args: argparse.Namespace) -> Outcome:
    # A process each: what torch.compile, CUDA graphs and allocators keep would meet the next training.
    started = time.perf_counter()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            trained = pool.submit(train, recipe, seed, args).result()
        except Diverged:
            return DIVERGED
    return Outcome(*trained, time.perf_counter() - started)


def _base(args: argparse.Namespace) -> Recipe:
    recipe = RECIPES[args.recipe]
    if args.base is None:
        return recipe
    named, changes = args.base
    return replace(changed(recipe, changes), name=f"{recipe.name} with {named}")


def _chosen(args: argparse.Namespace) -> Mapping[str, Changes]:
    if args.change:
        return dict(args.change)
    known = TECHNIQUES.get(args.recipe, {})
    unknown = [name for name in args.only or () if name not in known]
    if unknown:
        raise UserError(f"{args.recipe} has no technique {unknown[0]!r}; it has {', '.join(known) or 'none'}.")
    return {name: known[name] for name in args.only or known}


def _changes(text: str) -> tuple[str, dict[str, Any]]:
    """For argparse: the row's name, and what is changed."""
    try:
        return f"`{text}`", parsed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not PATH=VALUE, with spaces between several") from error


if __name__ == "__main__":
    sys.exit(run(measure, parser(), sys.argv[1:]))
