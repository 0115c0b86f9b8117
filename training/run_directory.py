"""A run's directory: who may write to it, what it is a run of, and where things are in it.

recipe.json        what is trained: recipe, seed, data, device, versions, command
metrics.jsonl      see metrics_log.py
report.html        see report/run_report.py
checkpoints/       see checkpoint.py
events.out.…       TensorBoard, training
eval/events.out.…  TensorBoard, evaluation
eval.json          the newest evaluation
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

from training.checkpoint import CheckpointDirectory
from training.errors import UserError
from training.files import make_directory, write_atomically

_LOCK = ".lock"
_DESCRIPTION = "recipe.json"


class RunDirectory:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = CheckpointDirectory(path / "checkpoints")
        self._lock: int | None = None
        self._made = False

    def open_for_training(self, *, resume: bool, overwrite: bool) -> None:
        """Makes the directory and locks it for this process, until the process ends.

        Raises UserError where it holds an earlier run that is neither to be gone on with (`resume`) nor to be deleted
        (`overwrite`), anything but a run, or where another process is training in it.
        """
        try:
            in_use = self._is_in_use()
        except OSError as error:
            raise UserError(f"{self.path} cannot be read ({error.strerror}); choose another --run-dir.") from error
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
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); check the disk and the permissions.") from error
        except ValueError as error:
            raise self.damaged(str(error)) from error
        if not isinstance(content, dict):
            raise self.damaged("it is no JSON object")
        return content

    def unusable(self, reason: str, remedy: str | None = None) -> UserError:
        """What to tell of a run that cannot be gone on with: why, and what helps besides training anew."""
        first = f"{remedy}, " if remedy else ""
        return UserError(f"{reason}; {first}delete {self.path} to train anew, or choose another --run-dir.")

    def damaged(self, reason: str) -> UserError:
        """What to tell of a description that does not say what it must."""
        return self.unusable(f"{self.path / _DESCRIPTION} is damaged ({reason})")

    def of_another_version(self, checkpoint: Path | None = None) -> UserError:
        """What to tell of a checkpoint, or of the description, that this version cannot read."""
        path = checkpoint or self.path / _DESCRIPTION
        return self.unusable(f"{path} was written by another version of this program", "go on with that version")

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

    def write_description(self, description: dict[str, Any]) -> None:
        self.write_json(_DESCRIPTION, description)

    def empty(self) -> None:
        """Deletes the earlier run. The directory itself stays: it may be a mount point."""
        # The description last: as long as it is there, what a killed process left of the rest is known for a run.
        try:
            for path in sorted(self._content(), key=lambda path: path.name == _DESCRIPTION):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        except OSError as error:
            raise UserError(
                f"{error.filename or self.path} could not be deleted ({error.strerror}); choose another --run-dir."
            ) from error

    def abandon(self) -> None:
        """Takes back `open_for_training`, as far as it made the directory and nothing has been written into it."""
        if self._made:
            (self.path / _LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds something
                self.path.rmdir()

    def _is_in_use(self) -> bool:
        """Whether it holds a run. Raises UserError where it holds anything else."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; choose another --run-dir.")
        in_use = bool(self._content())
        if in_use and not self._is_run():
            raise UserError(f"{self.path} holds files that are not a training run; choose another --run-dir.")
        return in_use

    def _is_run(self) -> bool:
        return (self.path / _DESCRIPTION).exists() or bool(self.checkpoints.all())

    def _content(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        return [path for path in self.path.iterdir() if not path.name.startswith(".")]

    def _make_and_lock(self) -> None:
        self._made = not self.path.exists()
        try:
            make_directory(self.path)
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
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be locked ({error.strerror}); choose another --run-dir, on a file system that can "
                "lock files."
            ) from error
        for part in self.path.glob(f".{_DESCRIPTION}.*.part"):  # of processes that were killed while they wrote it
            part.unlink(missing_ok=True)
