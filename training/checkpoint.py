"""Checkpoints: saved whole or not at all, and checked before they are believed.

A checkpoint is a plain `torch.save` file. Its name holds its step and the first 16 hex digits of its SHA-256, the
convention of PyTorch's own model hub (`torch.hub.load_state_dict_from_url(check_hash=True)`):

    checkpoint-00060000-5d1f0a3b9c8e7f42.pt
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.errors import UserError
from training.files import not_written, remove_parts, write_atomically

_NAME = re.compile(r"checkpoint-(\d{8,})-([0-9a-f]{16})\.pt")


ENTRIES = frozenset({"step", "network", "averages", "optimizer", "loss_averages", "random", "recipe", "identity"})
"""What every checkpoint holds, so that whoever loads one need not look."""


@dataclass(frozen=True, order=True)
class Checkpoint:
    step: int
    path: Path

    def load(self) -> dict[str, Any]:
        """The saved state, tensors on the CPU.

        Raises UserError where the file cannot be read or is not what was written, FileNotFoundError where it is gone.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be read ({error.strerror}); check the disk and the permissions."
            ) from error
        if _digest(content) not in self.path.name:
            raise self._damaged("its checksum is not the one in its name")
        try:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # PyTorch does not say what it raises for content that is no state
            raise self._damaged("PyTorch cannot read it") from error
        if not isinstance(state, dict):
            raise self._damaged("it is not a training's state")
        if missing := ENTRIES - state.keys():
            raise self._damaged(f"it has no {' and no '.join(sorted(missing))}")
        if state["step"] != self.step:
            raise self._damaged(f"its name says step {self.step} and its content step {state['step']}")
        return state

    def _damaged(self, reason: str) -> UserError:
        return UserError(f"{self.path} is damaged ({reason}); delete it.")


class CheckpointDirectory:
    """The checkpoints of one run, the newest few of which are kept (the tutorial's Saver keeps five as well)."""

    def __init__(self, path: Path, keep: int = 5) -> None:
        self.path = path
        self._keep = keep
        self._refused: set[Path] = set()

    def all(self) -> list[Checkpoint]:
        """Oldest first; what is not a checkpoint by its name is passed over. Raises UserError if it can't be listed."""
        try:
            matches = [(_NAME.fullmatch(path.name), path) for path in self.path.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be read ({error.strerror}); check the disk and the permissions."
            ) from error
        return sorted(Checkpoint(int(match[1]), path) for match, path in matches if match)

    def save(self, step: int, state: dict[str, Any]) -> Checkpoint:
        """Writes the state, with its "step", and once it is safely on the disk deletes all but the newest few.

        `state` has the other `ENTRIES`. A checkpoint that could not be loaded is neither counted nor deleted, nor is
        one of a later step: so going on from the one before it never deletes the last that is sound. Raises UserError
        where it cannot be written.
        """
        buffer = io.BytesIO()
        torch.save(state | {"step": step}, buffer)
        content = buffer.getvalue()
        checkpoint = Checkpoint(step, self.path / f"checkpoint-{step:08d}-{_digest(content)}.pt")
        try:
            remove_parts(self.path)
            write_atomically(checkpoint.path, lambda file: file.write(content))
            self._refused.discard(checkpoint.path)
            self._thin_out(step)
        except OSError as error:
            raise not_written(checkpoint.path, error) from error
        return checkpoint

    def load_newest(self) -> tuple[Checkpoint, dict[str, Any]] | None:
        """The newest sound checkpoint; None where there is none at all.

        One that cannot be loaded is named on the terminal and the one before it is taken. Raises UserError where none
        can be.
        """
        tried: set[Path] = set()
        # Listed anew after each failure: a running training thins out its checkpoints, and saves others.
        while untried := [checkpoint for checkpoint in self.all() if checkpoint.path not in tried]:
            newest = untried[-1]
            tried.add(newest.path)
            try:
                return newest, newest.load()
            except FileNotFoundError:
                continue
            except UserError as error:
                self._refused.add(newest.path)
                print(f"{error} The checkpoint before it is used.", flush=True)
        if tried & self._refused:
            raise UserError(f"No checkpoint in {self.path} is sound; delete {self.path.parent} to train anew.")
        return None

    def _thin_out(self, step: int) -> None:
        sound = [old.path for old in self.all() if old.step <= step and old.path not in self._refused]
        for path in sound[: -self._keep]:
            if path.is_file():
                path.unlink(missing_ok=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
