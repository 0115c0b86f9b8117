"""TensorBoard's event files, written directly and at once.

PyTorch's SummaryWriter writes from a thread, where a full disk is a traceback that nothing can catch.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from training.errors import UserError
from training.files import make_directory, not_written

_PREFIX = "events.out.tfevents."


class EventFile:
    """A new event file in a directory. Every method raises UserError where the directory cannot be written to."""

    def __init__(self, directory: Path) -> None:
        try:
            make_directory(directory)
            self._path = directory / f"{_PREFIX}{_next_number(directory):010d}.{socket.gethostname()}.{os.getpid()}"
            self._file = self._path.open("xb")
        except OSError as error:
            raise UserError(
                f"{directory} cannot be written to ({error.strerror}); make room or choose another place."
            ) from error
        self._records = RecordWriter(self._file)
        self._write(Event(file_version="brain.Event:2"))

    def restart(self, step: int) -> None:
        """What TensorBoard knows for the restart of a training: it forgets what earlier files say from `step` on."""
        self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, values: Iterable[Summary.Value]) -> None:
        """To be seen by TensorBoard at once."""
        self._write(Event(step=step, summary=Summary(value=values)))

    def sync(self) -> None:
        """Lasts: what has been written survives a loss of power from here on."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise not_written(self._path, error) from error

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise not_written(self._path, error) from error

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        try:
            self._records.write(event.SerializeToString())
            self._file.flush()
        except OSError as error:
            raise not_written(self._path, error) from error


def scalar(tag: str, value: float) -> Summary.Value:
    return Summary.Value(tag=tag, simple_value=value)


def _next_number(directory: Path) -> int:
    """The time in seconds, but more than the numbers of the files that are there, whatever the clock says.

    TensorBoard reads the files in the order of their names.
    """
    numbers = [path.name.removeprefix(_PREFIX).partition(".")[0] for path in directory.glob(f"{_PREFIX}*")]
    return max([int(time.time()), *(int(number) + 1 for number in numbers if number.isdecimal())])
