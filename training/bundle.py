"""The model bundle as the trainer writes it: one ONNX file with metadata, published as a version.

models/<name>/<version>/model.onnx; models/README.md says what is in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from training.errors import UserError
from training.files import sync_directory, write_atomically

FORMAT_VERSION = "1"

_BESIDE = ".publishing"  # servers pass over names that are no numbers
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")  # what a server takes for one


@dataclass(frozen=True, order=True)
class Bundle:
    version: int
    path: Path  # of model.onnx

    def metadata(self) -> dict[str, str]:
        """What the file says of itself; empty where it can't be read."""
        try:
            model = onnx.load_model(self.path, load_external_data=False)
        except Exception:  # a garbage file raises protobuf's own kinds of error, among others
            return {}
        return {entry.key: entry.value for entry in model.metadata_props}


class Publisher:
    """The published versions of one model."""

    def __init__(self, models_dir: Path, name: str) -> None:
        """Raises UserError for a name that could not be a folder and part of an address."""
        if not _NAME.fullmatch(name):
            raise UserError(f"{name!r} cannot be a model's name; use up to 128 letters, digits, '.', '_' and '-'.")
        self.directory = models_dir / name

    def newest(self) -> Bundle | None:
        """The highest version that has a model file. Raises UserError where the folder can't be read."""
        try:
            bundles = [Bundle(version, self.directory / str(version) / "model.onnx") for version in self._versions()]
            return max((bundle for bundle in bundles if bundle.path.is_file()), default=None)
        except OSError as error:
            raise UserError(
                f"{self.directory} cannot be read ({error.strerror}); choose another --models-dir."
            ) from error

    def publish(self, content: bytes) -> Bundle:
        """Writes the file as the next version: beside, flushed to the disk, then renamed, so that no reader meets half.

        Of two exports at the same time the second waits. Raises UserError where the file can't be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with _locked(self.directory):
                version = self._write_next_version(content)
        except OSError as error:
            raise UserError(
                f"{self.directory} cannot be written to ({error.strerror or error}); make room or choose another "
                "--models-dir."
            ) from error
        return Bundle(version, self.directory / str(version) / "model.onnx")

    def _versions(self) -> list[int]:
        if not self.directory.is_dir():
            return []
        return [int(path.name) for path in self.directory.iterdir() if _VERSION.fullmatch(path.name)]

    def _write_next_version(self, content: bytes) -> int:
        beside = self.directory / _BESIDE
        shutil.rmtree(beside, ignore_errors=True)  # of an export that was killed: one at work would hold the lock
        try:
            write_atomically(beside / "model.onnx", lambda file: file.write(content))
            version = max(self._versions(), default=0) + 1
            beside.rename(self.directory / str(version))
            sync_directory(self.directory)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return version


def with_metadata(model: onnx.ModelProto, metadata: dict[str, str]) -> bytes:
    """The file's content. The graph is not changed."""
    onnx.helper.set_model_props(model, metadata)
    content: bytes = model.SerializeToString()
    return content


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
