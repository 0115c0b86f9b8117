"""CIFAR-10's binary version: where it is, whether it is whole, and how it is read.

Source: Learning Multiple Layers of Features from Tiny Images, Alex Krizhevsky, 2009, and the description of
the binary version at https://www.cs.toronto.edu/~kriz/cifar.html. In the tutorial: `read_cifar10`.
"""

import os
from pathlib import Path

import numpy as np
import torch

from training.dataset import Dataset, Split
from training.errors import UserError

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILES = ("test_batch.bin",)
RECORDS_IN_A_FILE = 10_000
PIXEL_BYTES = 3 * 32 * 32
RECORD_BYTES = 1 + PIXEL_BYTES
FILE_BYTES = RECORDS_IN_A_FILE * RECORD_BYTES

DIRECTORY_VARIABLE = "CIFAR10_DIR"
DEFAULT_DIRECTORY = Path("data")


def directory(data_dir: Path | None) -> Path:
    """The folder that holds (or is to hold) `cifar-10-batches-bin`.

    `data_dir` if given, else the environment variable CIFAR10_DIR, else `data` in the working directory.
    Whoever gives `cifar-10-batches-bin` itself means the folder around it, and gets that.
    """
    chosen = data_dir or Path(os.environ.get(DIRECTORY_VARIABLE) or DEFAULT_DIRECTORY)
    chosen = Path(os.path.expanduser(chosen))  # which leaves "~nobody" as it is
    inside = chosen.absolute()
    if inside.name == FOLDER and not (inside / FOLDER).exists():
        return inside.parent
    return chosen


def check(data_dir: Path) -> None:
    """Raise UserError, naming the first wrong file, unless all six files are there in their full size."""
    if not os.path.isdir(data_dir / FOLDER):
        raise UserError(
            f"{data_dir} holds no {FOLDER}; run `python -m training fetch`, or give --data-dir or "
            f"{DIRECTORY_VARIABLE} the folder that holds CIFAR-10's binary version."
        )
    for name in TRAIN_FILES + TEST_FILES:
        _check_file(data_dir / FOLDER / name)


def read(data_dir: Path) -> Dataset:
    """All 50,000 training and 10,000 test pictures from `data_dir`/cifar-10-batches-bin.

    Raises UserError if a file is missing, is not 10,000 records long, cannot be read, or has a label over 9.
    """
    check(data_dir)
    return Dataset(
        name="cifar10",
        class_names=CLASS_NAMES,
        train=_read_split(data_dir / FOLDER, TRAIN_FILES),
        test=_read_split(data_dir / FOLDER, TEST_FILES),
    )


def _read_split(folder: Path, names: tuple[str, ...]) -> Split:
    images = np.empty((len(names), RECORDS_IN_A_FILE, PIXEL_BYTES), np.uint8)
    labels = np.empty((len(names), RECORDS_IN_A_FILE), np.int64)
    for position, name in enumerate(names):
        records = _read_records(folder / name)
        images[position] = records[:, 1:]
        labels[position] = records[:, 0]
    return Split(torch.from_numpy(images).view(-1, 3, 32, 32), torch.from_numpy(labels).view(-1))


def _read_records(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path} cannot be read ({reason}); check the disk and the permissions.") from error
    if content.size != FILE_BYTES:
        raise _wrong_size(path, content.size)
    records = content.reshape(RECORDS_IN_A_FILE, RECORD_BYTES)
    highest = int(records[:, 0].max())
    if highest >= len(CLASS_NAMES):
        raise UserError(
            f"{path} has a label {highest} where CIFAR-10's go from 0 to 9, so it is damaged or another data "
            f"set's; {_remedy(path)}."
        )
    return records


def _check_file(path: Path) -> None:
    if not os.path.isfile(path):
        raise UserError(f"{path} is missing; {_remedy(path)}.")
    size = os.path.getsize(path)
    if size != FILE_BYTES:
        raise _wrong_size(path, size)


def _wrong_size(path: Path, size: int) -> UserError:
    return UserError(f"{path} has {size:,} bytes where CIFAR-10's binary version has {FILE_BYTES:,}; {_remedy(path)}.")


def _remedy(path: Path) -> str:
    folder = path.parent
    return f"remove {folder} and run `python -m training fetch --data-dir {folder.parent}`"
