"""A Python that has TensorFlow: the one that is given, or a virtual environment that lasts as long as the benchmark.

TensorFlow and PyTorch stay apart: each brings its own CUDA libraries, and the project needs no TensorFlow.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from training.errors import UserError

VARIABLE = "TENSORFLOW_PYTHON"
VERSION = "2.21.0"


def requirement() -> str:
    """What pip installs; with CUDA's libraries where there is a GPU."""
    return f"tensorflow[and-cuda]=={VERSION}" if torch.cuda.is_available() else f"tensorflow=={VERSION}"


@contextmanager
def tensorflow_python(given: str | None) -> Iterator[str]:
    """The path of a Python with TensorFlow: `given`, else $TENSORFLOW_PYTHON, else one in a throw-away environment.

    Raises UserError where the Python given has no TensorFlow, or it cannot be installed.
    """
    given = given or os.environ.get(VARIABLE)
    if given:
        version(given)
        yield given
        return
    with TemporaryDirectory(prefix="tensorflow-") as directory:
        python = str(Path(directory) / "bin" / "python")
        print(f"Installing {requirement()} into a throw-away environment; --tensorflow-python saves that.", flush=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", directory], check=True, capture_output=True, text=True)
            install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement()]
            subprocess.run(install, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout).strip().splitlines()[-1]
            raise UserError(f"TensorFlow could not be installed ({said}); {_remedy()}.") from error
        yield python


def version(python: str) -> str:
    """TensorFlow's version there. Raises UserError where there is none."""
    ask = "from importlib.metadata import version; print(version('tensorflow'))"
    try:
        return subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"{python} has no TensorFlow; {_remedy()}.") from error


def _remedy() -> str:
    return f"pip install '{requirement()}' in an environment of its own and give its Python as --tensorflow-python"
