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
from training.files import remove_parts, write_atomically

_NAME = re.compile(r"checkpoint-(\d{8,})-([0-9a-f]{16})\.pt")


@dataclass(frozen=True, order=True)
class Checkpoint:
    step: int
    path: Path

    def load(self) -> dict[str, Any]:
        """The saved state, tensors on the CPU. Raises UserError where the file is not what was written."""
        content = self.path.read_bytes()
        if _digest(content) not in self.path.name:
            raise UserError(f"{self.path} is damaged (its checksum is not the one in its name); delete it.")
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state


class CheckpointDirectory:
    """The checkpoints of one run, the newest few of which are kept (the tutorial's Saver keeps five as well)."""

    def __init__(self, path: Path, keep: int = 5) -> None:
        self.path = path
        self._keep = keep

    def all(self) -> list[Checkpoint]:
        """Oldest first; what is not a checkpoint by its name is passed over."""
        if not self.path.is_dir():
            return []
        matches = [(_NAME.fullmatch(path.name), path) for path in self.path.iterdir()]
        return sorted(Checkpoint(int(match[1]), path) for match, path in matches if match)

    def save(self, step: int, state: dict[str, Any]) -> Checkpoint:
        """Writes the state, then deletes all but the newest few. Raises UserError where it cannot be written."""
        remove_parts(self.path)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        checkpoint = Checkpoint(step, self.path / f"checkpoint-{step:08d}-{_digest(content)}.pt")
        write_atomically(checkpoint.path, lambda file: file.write(content))
        for old in self.all()[: -self._keep]:
            old.path.unlink(missing_ok=True)
        return checkpoint

    def load_newest(self) -> tuple[Checkpoint, dict[str, Any]] | None:
        """The newest sound checkpoint; None where there is none at all.

        A damaged one is named on the terminal and the one before it is taken. Raises UserError where all are damaged.
        """
        damaged = []
        for checkpoint in reversed(self.all()):
            try:
                return checkpoint, checkpoint.load()
            except FileNotFoundError:
                continue  # a running training has just thinned out its checkpoints
            except UserError as error:
                damaged.append(str(error))
                print(f"{error} The checkpoint before it is used.", flush=True)
        if damaged:
            raise UserError(f"No checkpoint in {self.path} is sound; train again with --overwrite.")
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
