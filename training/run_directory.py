"""A run's directory: who may write to it, what it is a run of, and where things are in it.

recipe.json        what is trained: recipe, seed, data, device, versions, command
checkpoints/       see checkpoint.py
events.out.…       TensorBoard, training
eval/events.out.…  TensorBoard, evaluation
eval.json          the newest evaluation
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

from training.checkpoint import CheckpointDirectory
from training.errors import UserError
from training.files import write_atomically

_LOCK = ".lock"
_DESCRIPTION = "recipe.json"


class RunDirectory:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = CheckpointDirectory(path / "checkpoints")
        self._lock: int | None = None

    def open_for_training(self, *, resume: bool, overwrite: bool) -> None:
        """Makes the directory and locks it for this process, until the process ends.

        Raises UserError where it holds an earlier run that is neither to be gone on with (`resume`) nor to be deleted
        (`overwrite`), anything but a run, or where another process is training in it.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; choose another --run-dir.")
        in_use = self._content()
        if in_use and not self._is_run():
            raise UserError(f"{self.path} holds files that are not a training run; choose another --run-dir.")
        if in_use and not (resume or overwrite):
            raise UserError(
                f"{self.path} exists already; add --resume to go on with that run, --overwrite to delete it and start "
                "again, or choose another --run-dir."
            )
        self._make_and_lock()

    def description(self) -> dict[str, Any] | None:
        """What recipe.json says; None where nothing has been trained here. Raises UserError where it isn't JSON."""
        path = self.path / _DESCRIPTION
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}); train again with --overwrite.") from error
        return content

    def trained(self) -> dict[str, Any]:
        """What recipe.json says. Raises UserError where nothing has been trained here."""
        description = self.description()
        if description is None:
            raise UserError(
                f"{self.path} is not a training run (it has no {_DESCRIPTION}); name one with --run-dir, or make it: "
                f"python -m training train --run-dir {shlex.quote(str(self.path))}"
            )
        return description

    def write_json(self, name: str, content: dict[str, Any]) -> Path:
        """Writes a file of the directory, atomically. Raises UserError where it can't be written."""
        text = json.dumps(content, indent=2) + "\n"
        write_atomically(self.path / name, lambda file: file.write(text.encode()))
        return self.path / name

    def describe(self, description: dict[str, Any]) -> None:
        self.write_json(_DESCRIPTION, description)

    def empty(self) -> None:
        """Deletes the earlier run. The directory itself stays: it may be a mount point."""
        # The description last: as long as it is there, what a killed process left of the rest is known for a run.
        for path in sorted(self._content(), key=lambda path: path.name == _DESCRIPTION):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _is_run(self) -> bool:
        return (self.path / _DESCRIPTION).exists() or bool(self.checkpoints.all())

    def _content(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        return [path for path in self.path.iterdir() if not path.name.startswith(".")]

    def _make_and_lock(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written to ({error.strerror}); choose another --run-dir."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another process is training in {self.path}; wait for it or choose another --run-dir."
            ) from None
