"""What each command does, in the order in which it does it."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from training import choices, cifar10, download, evaluation, named_datasets
from training.dataset import Dataset
from training.device import choose_device, choose_precision, describe
from training.errors import UserError
from training.loop import Run, Settings
from training.provenance import libraries, now, source_revision
from training.recipe import RECIPES, Recipe, from_dict
from training.run_directory import RunDirectory
from training.sample import write_sample


def fetch(args: argparse.Namespace) -> None:
    if args.data == "cifar10":
        print(f"CIFAR-10 is in {download.fetch(args.data_dir) / cifar10.FOLDER}.")
    else:
        print(f"The {args.data} set is built in; there is nothing to fetch.")
    if args.sample is not None:
        label = write_sample(_load(args.data, args.data_dir), args.sample)
        print(f"Wrote a test picture, labelled {label}, to {args.sample}.")


def train(args: argparse.Namespace) -> None:
    run_dir = RunDirectory(args.run_dir)
    run_dir.open_for_training(resume=args.resume, overwrite=args.overwrite)
    before = run_dir.description() if args.resume else None
    device = choose_device(args.device)
    settings = Settings(
        recipe=_recipe(args, before),
        seed=_given(args.seed, before, "seed", choices.DEFAULT_SEED),
        device=device,
        precision=choose_precision(_given(args.precision, before, "precision", choices.DEFAULT_PRECISION), device),
        eval_every=args.eval_every,
    )
    dataset = _load(_given(args.data, before, "dataset", choices.DEFAULT_DATASET), args.data_dir)
    run = Run(settings, dataset, run_dir)
    if args.overwrite:
        run_dir.empty()
    run.restore()
    run_dir.describe(_description(settings, dataset))
    print(
        f"Training recipe {settings.recipe.name} on {dataset.name} for {settings.recipe.steps} steps, from step "
        f"{run.step.updates_done}, in {settings.precision} on {describe(device)}, into {run_dir.path}.",
        flush=True,
    )
    run.train()


def evaluate(args: argparse.Namespace) -> None:
    run_dir = RunDirectory(args.run_dir)
    if args.watch:
        _wait_for_training(run_dir, args.interval)
    dataset = _load(run_dir.trained()["dataset"], args.data_dir)
    device = choose_device(args.device)
    if args.watch:
        for found in evaluation.watch(run_dir, dataset, device, args.interval):
            print(f"{found.sentence()}\n{found.table()}", flush=True)
    else:
        found = evaluation.evaluate_newest(run_dir, dataset, device)
        print(f"{found.sentence()}\n{found.table()}\nWritten to {run_dir.path / 'eval.json'}.")


def export_bundle(args: argparse.Namespace) -> None:
    # onnx and onnxruntime take a second to import, and no other command needs them.
    from training.export import export

    run_dir = RunDirectory(args.run_dir)
    dataset = _load(run_dir.trained()["dataset"], args.data_dir)
    name = args.name or dataset.name
    if name in choices.DATASETS and name != dataset.name:
        raise UserError(
            f"{name} is for models trained on {name} and this run was trained on {dataset.name}; choose another --name."
        )
    for sentence in export(run_dir, dataset, args.models_dir, name):
        print(sentence, flush=True)


def _wait_for_training(run_dir: RunDirectory, interval: float) -> None:
    """Lets `eval --watch` be started before `train`."""
    if run_dir.description() is None:
        print(f"Waiting for a training in {run_dir.path}.", flush=True)
    while run_dir.description() is None:
        time.sleep(interval)


def _load(name: str, data_dir: Path | None) -> Dataset:
    return named_datasets.load(name, download.fetch(data_dir) if name == "cifar10" else data_dir)


def _recipe(args: argparse.Namespace, before: dict[str, Any] | None) -> Recipe:
    """The recipe asked for, or that of the run that is resumed, with what was given on the command line."""
    if before and args.recipe in (None, before["recipe"]["name"]):
        recipe = from_dict(before["recipe"])
    else:
        recipe = RECIPES[args.recipe or choices.DEFAULT_RECIPE]
    return recipe.with_changes(steps=args.steps, batch_size=args.batch_size, learning_rate=args.learning_rate)


def _given(value: Any, before: dict[str, Any] | None, key: str, default: Any) -> Any:
    if value is not None:
        return value
    return before[key] if before else default


def _description(settings: Settings, dataset: Dataset) -> dict[str, Any]:
    """The content of recipe.json."""
    return {
        "recipe": settings.recipe.as_dict(),
        "seed": settings.seed,
        "dataset": dataset.name,
        "class_names": list(dataset.class_names),
        "training_pictures": len(dataset.train),
        "precision": settings.precision,
        "device": describe(settings.device),
        "command": shlex.join(["python", "-m", "training", *sys.argv[1:]]),
        "started": now(),
        "source_revision": source_revision(),
        "libraries": libraries(["torch", "torchvision", "numpy"]),
    }


COMMANDS = {"fetch": fetch, "train": train, "eval": evaluate, "export": export_bundle}
