"""Every command and flag, with what it is for. (Imports no PyTorch: help is quick.)"""

from __future__ import annotations

import argparse
from pathlib import Path

from training import choices
from training.flag_values import data, positive_number, share, whole_number
from training.recipe import RECIPES

PROGRAM = "python -m training"
EXIT_STATUS = """exit status: 0 done, 1 it failed (the model diverged, another process was lost), 2 something to mend
(the last line says what), 3 no network, 128 + the signal's number when stopped by it"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        PROGRAM, description="Train the CIFAR-10 network, evaluate it, look at it, export it.", epilog=EXIT_STATUS
    )
    subcommands = top.add_subparsers(required=True, dest="command", metavar="COMMAND")
    _fetch(subcommands)
    _train(subcommands)
    _eval(subcommands)
    _report(subcommands)
    _compare(subcommands)
    _export(subcommands)
    return top


def _fetch(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = subcommands.add_parser(
        "fetch",
        help="get the data",
        description="Get the data set, if it isn't there yet; of a folder of pictures, decode what isn't decoded yet, "
        "and say what is in it.",
    )
    _data_flags(command, "the data set to get", default=choices.DEFAULT_DATASET)
    _folder_flags(command)
    command.add_argument("--sample", type=Path, metavar="FILE", help="also write one test picture to FILE, as a PNG")


def _train(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = subcommands.add_parser(
        "train",
        help="train a network",
        description="Train a network, on one device or, with --gpus or started by torchrun, on several.",
        epilog="With --resume, what is not given of the recipe, data, precision, seed and summaries is taken from the "
        "run itself.",
        allow_abbrev=False,  # the command that resumes is made from this one, by its flags' names
    )
    recipe = RECIPES[choices.DEFAULT_RECIPE]
    add = command.add_argument
    add("--recipe", choices=sorted(RECIPES), help=f"which recipe to follow (default: {recipe.name})")
    add("--steps", type=whole_number(1), help=f"updates in all (default: the recipe's; tutorial: {recipe.steps})")
    batch = command.add_mutually_exclusive_group()
    batch.add_argument(
        "--batch-size",
        type=whole_number(1),
        help="pictures an update on each GPU (default: the recipe's, which others than tutorial divide among all GPUs; "
        f"tutorial: {recipe.batch_size})",
    )
    batch.add_argument(
        "--global-batch", type=whole_number(1), metavar="PICTURES", help="pictures an update on all GPUs together"
    )
    add(
        "--learning-rate",
        type=positive_number,
        help=f"the first learning rate (default: the recipe's; tutorial: {recipe.learning_rate})",
    )
    _data_flags(command, f"what to train on (default: {choices.DEFAULT_DATASET})", default=None)
    _folder_flags(command)
    _run_dir_flag(command)
    _device_flag(command)
    add(
        "--gpus",
        type=whole_number(1),
        metavar="N",
        help="train on N GPUs of this machine, a process each; with --device cpu: in N processes (default: on one)",
    )
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="fuse the network's kernels with torch.compile, which takes seconds at the start (default: on a GPU)",
    )
    add(
        "--precision",
        choices=choices.PRECISIONS,
        help=f"auto: bf16 where the device has it (default: {choices.DEFAULT_PRECISION})",
    )
    add(
        "--seed",
        type=whole_number(0, below=2**64),  # PyTorch's generators take no larger one
        help=f"decides initial weights, the pictures' order and distortions (default: {choices.DEFAULT_SEED})",
    )
    add(
        "--eval-every",
        type=whole_number(0),
        default=5_000,
        metavar="STEPS",
        help="evaluate this often, and at the end; 0: at the end alone (default: %(default)s)",
    )
    add(
        "--checkpoint-every",
        type=whole_number(0),
        metavar="STEPS",
        help="save a checkpoint this often, at the end, and on SIGTERM and Ctrl-C (default: "
        f"{choices.DEFAULT_CHECKPOINT_EVERY}, or of a recipe that counts epochs a quarter of the training)",
    )
    add(
        "--summaries",
        choices=choices.SUMMARIES,
        help="what TensorBoard is shown: nothing; losses and rates; also pictures, activations, weights and gradients "
        f"(default: {choices.DEFAULT_SUMMARIES})",
    )
    add(
        "--report",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="at the end, write report.html into the run's directory (default: yes)",
    )
    existing = command.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on with the run in --run-dir, if there is one")
    existing.add_argument("--overwrite", action="store_true", help="delete the run in --run-dir and start again")


def _eval(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = subcommands.add_parser(
        "eval",
        help="measure a run's accuracy",
        description="Precision @ 1 over the whole test split, each picture once, with the averaged weights of the "
        "run's newest checkpoint; printed, and written to eval.json in the run's directory.",
    )
    _run_dir_flag(command)
    _remembered_data_flags(command)
    _device_flag(command)
    command.add_argument(
        "--watch", action="store_true", help="evaluate every new checkpoint, until the training has done its last step"
    )
    command.add_argument(
        "--interval",
        type=positive_number,
        default=5.0,
        metavar="SECONDS",
        help="with --watch: how often to look for a new checkpoint (default: %(default)s)",
    )


def _report(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = subcommands.add_parser(
        "report",
        help="show a run in one page",
        description="Write RUN/report.html, a page in which a run explains itself: curves, accuracy of each class, "
        "confusion matrix, calibration, mistakes, filters, recipe, and the command that trains the same weights again. "
        "Of a run that has not ended it shows the newest checkpoint.",
    )
    command.add_argument("run", type=Path, metavar="RUN", help="the run's directory")
    _remembered_data_flags(command)
    _device_flag(command)


def _compare(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = subcommands.add_parser(
        "compare",
        help="show runs side by side",
        description="Print a table of runs and the settings in which they differ, and write it with their curves into "
        "one HTML file.",
    )
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the runs' directories")
    command.add_argument(
        "--output",
        type=Path,
        default=Path("comparison.html"),
        metavar="FILE",
        help="where the page is written (default: %(default)s)",
    )


def _export(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = subcommands.add_parser(
        "export",
        help="publish a run's averaged weights for serving",
        description="Write the averaged weights of the run's newest checkpoint as an ONNX model bundle, check it "
        "against PyTorch and on the whole test split, and publish it as the next version. See models/README.md.",
    )
    _run_dir_flag(command)
    _remembered_data_flags(command)
    command.add_argument(
        "--models-dir", type=Path, default=Path("models"), help="where bundles are published (default: %(default)s)"
    )
    command.add_argument("--name", help="the model's name (default: the data set's)")
    command.add_argument(
        "--quantize",
        choices=("int8",),
        help="make it smaller, and faster on CPUs; refused if accuracy falls by half a point (default: float32)",
    )


def _data_flags(command: argparse.ArgumentParser, text: str, default: str | None) -> None:
    suffix = f" (default: {default})" if default else ""
    command.add_argument(
        "--data",
        type=data,
        default=default,
        metavar="DATA",
        help=f"{text}: {choices.DATA} (a folder that holds train/CLASS/… and test/CLASS/…, or CLASS/…){suffix}",
    )
    _data_dir_flag(command)


def _remembered_data_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data",
        type=data,
        metavar=f"{choices.FOLDER}PATH",
        help="where the folder of pictures is by now that the run was trained on (default: where it was)",
    )
    _data_dir_flag(command)


def _folder_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--image-size",
        type=whole_number(choices.LEAST_IMAGE_SIZE, below=choices.MOST_IMAGE_SIZE + 1),
        metavar="PIXELS",
        help="height and width at which a folder's pictures are stored and served, "
        f"{choices.LEAST_IMAGE_SIZE} to {choices.MOST_IMAGE_SIZE} (default: the recipe's; tutorial: "
        f"{RECIPES[choices.DEFAULT_RECIPE].image_size})",
    )
    command.add_argument(
        "--test-share",
        type=share,
        metavar="SHARE",
        help="how many of a folder's pictures are for testing, where it has no test/CLASS/…; chosen by their paths "
        f"(default: {choices.DEFAULT_TEST_SHARE})",
    )


def _data_dir_flag(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data-dir",
        type=Path,
        help="the folder that holds cifar-10-batches-bin, or is to hold it (default: $CIFAR10_DIR, else data)",
    )


def _run_dir_flag(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--run-dir", type=Path, default=Path("runs/tutorial"), help="the run's directory (default: %(default)s)"
    )


def _device_flag(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device",
        choices=choices.DEVICES,
        default="auto",
        help="auto: CUDA where there is a GPU, else the CPU (default: auto)",
    )
