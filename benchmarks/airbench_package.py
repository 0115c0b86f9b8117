"""Where the package airbench is: in a folder that is given, in this environment, or in a throw-away folder.

It is installed without what it asks for, PyTorch and torchvision: it computes with those that ours computes with.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

from training.errors import UserError

VARIABLE = "AIRBENCH"
VERSION = "0.1.8"
REQUIREMENT = f"airbench=={VERSION}"


@contextmanager
def airbench_folder(given: Path | None) -> Iterator[Path]:
    """The folder that holds it, to put on PYTHONPATH: `given`, else $AIRBENCH, else where it is installed, else new.

    Raises UserError where the folder does not hold it, or it cannot be installed.
    """
    folder = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    installed = importlib.util.find_spec("airbench")
    if folder is not None:
        version(folder)
        yield folder.absolute()
    elif installed and installed.origin:
        yield Path(installed.origin).parent.parent
    else:
        with TemporaryDirectory(prefix="airbench-") as directory:
            _install(directory)
            yield Path(directory)


def version(folder: Path) -> str:
    """Of the airbench there. Raises UserError where there is none."""
    found = next(iter(distributions(name="airbench", path=[str(folder)])), None)
    if found is None:
        raise UserError(f"{folder} holds no airbench; {_remedy()}.")
    return found.version


def _install(directory: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    try:
        subprocess.run([*pip, "--target", directory, REQUIREMENT], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()[-1]
        raise UserError(f"airbench could not be installed ({said}); {_remedy()}.") from error


def _remedy() -> str:
    return f"pip install --no-deps --target FOLDER {REQUIREMENT} and give FOLDER as --airbench"
