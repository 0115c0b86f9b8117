"""What each command does, in the order in which it does it; the longer ones in files of their own."""

from __future__ import annotations

import argparse
import time

from training import choices, cifar10, download, evaluation, named_datasets
from training.device import choose_device, memory_to_evaluate, prepare
from training.errors import UserError
from training.heap import keep_freed_memory
from training.recipe import Recipe
from training.report_commands import compare, report
from training.run_directory import RunDirectory
from training.sample import write_sample
from training.train_command import train


def fetch(args: argparse.Namespace) -> None:
    if args.data == "cifar10":
        print(f"CIFAR-10 is in {download.fetch(args.data_dir) / cifar10.FOLDER}.")
    elif not named_datasets.is_folder(args.data):
        print(f"The {args.data} set is built in; there is nothing to fetch.")
    if named_datasets.is_folder(args.data) or args.sample is not None:
        image_size = args.image_size or Recipe.image_size
        data_dir = named_datasets.fetched(args.data, args.data_dir)
        dataset = named_datasets.load(args.data, data_dir, image_size, args.test_share)
        named_datasets.announce_folder(args.data, dataset)
        if args.sample is not None:
            label = write_sample(dataset, args.sample)
            print(f"Wrote a test picture, labelled {label}, to {args.sample}.")


def evaluate(args: argparse.Namespace) -> None:
    run_dir = RunDirectory(args.run_dir)
    if args.watch:
        _wait_for_training(run_dir, args.interval)
    dataset = named_datasets.of_run(run_dir, args.data, args.data_dir)
    device = choose_device(args.device)
    prepare(device)
    keep_freed_memory()
    with memory_to_evaluate(device):
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
    dataset = named_datasets.of_run(run_dir, args.data, args.data_dir)
    if args.name in choices.DATASETS and args.name != dataset.name:
        raise UserError(
            f"{args.name} is for models trained on {args.name} and this run was trained on {dataset.name}; choose "
            "another --name."
        )
    export(run_dir, dataset, args.models_dir, args.name, args.quantize)


def _wait_for_training(run_dir: RunDirectory, interval: float) -> None:
    """Lets `eval --watch` be started before `train`."""
    if run_dir.description() is None:
        print(f"Waiting for a training in {run_dir.path}.", flush=True)
    while run_dir.description() is None:
        time.sleep(interval)


COMMANDS = {
    "fetch": fetch,
    "train": train,
    "eval": evaluate,
    "report": report,
    "compare": compare,
    "export": export_bundle,
}
