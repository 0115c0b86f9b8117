"""The data sets that a command line can name."""

from pathlib import Path

from training import cifar10, download, synthetic
from training.choices import DATASETS
from training.dataset import Dataset
from training.errors import UserError


def load(name: str, data_dir: Path | None) -> Dataset:
    """The data set called `name`, one of `DATASETS`.

    `data_dir` says where CIFAR-10 is (see `cifar10.directory` for what None means); the synthetic set, which
    is made and not read, has no use for it.

    Raises UserError if the name is unknown, or the files are missing or damaged.
    """
    if name == "cifar10":
        return cifar10.read(cifar10.directory(data_dir))
    if name == "synthetic":
        return synthetic.make()
    raise UserError(f"There is no data set called {name!r}; choose one of: {', '.join(DATASETS)}.")


def fetch_and_load(name: str, data_dir: Path | None) -> Dataset:
    """The same, after CIFAR-10 has been downloaded, where it isn't there yet. Raises NoNetwork where it can't be."""
    return load(name, download.fetch(data_dir) if name == "cifar10" else data_dir)
