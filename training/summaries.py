"""TensorBoard event files, with the tutorial's tags, every 100 steps as there.

RUN/events.out.tfevents…        loss terms raw and averaged, learning rate, examples/sec
RUN/eval/events.out.tfevents…   Precision @ 1
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from training.errors import UserError
from training.files import make_directory, not_written
from training.network import LOSS_NAMES

EVERY = 100  # steps; the tutorial's MonitoredTrainingSession saves summaries this often

_PREFIX = "events.out.tfevents."


class TrainingSummaries:
    """The scalars of a run. Opened at a step, it hides what an earlier process wrote beyond that step.

    Every method, the constructor too, raises UserError where the directory cannot be written to.
    """

    def __init__(self, run_dir: Path | None, first_step: int) -> None:
        """Without a directory nothing is written: of several ranks, one writes."""
        self._file = EventFile(run_dir) if run_dir else None
        if self._file:
            # What TensorBoard knows for the restart of a training: it forgets what came later.
            self._file.write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def write(
        self, step: int, raw: list[float], averaged: list[float], learning_rate: float, examples_per_sec: float
    ) -> None:
        """`raw` and `averaged` hold the losses in the order of `LOSS_NAMES`; the learning rate is that of this step."""
        if self._file is None:
            return
        values = {"learning_rate": learning_rate, "examples_per_sec": examples_per_sec}
        for name, now, average in zip(LOSS_NAMES, raw, averaged, strict=True):
            values |= {f"{name} (raw)": now, name: average}
        self._file.write_scalars(step, values)

    def flush(self) -> None:
        """Lasts: what has been written survives a loss of power from here on."""
        if self._file:
            self._file.sync()

    def close(self) -> None:
        if self._file:
            self._file.close()


class EvaluationSummaries:
    """Precision @ 1 over the steps, as a TensorBoard run of its own beside the training's.

    Every method, the constructor too, raises UserError where the directory cannot be written to.
    """

    def __init__(self, run_dir: Path) -> None:
        self._file = EventFile(run_dir / "eval")

    def write(self, step: int, precision: float) -> None:
        self._file.write_scalars(step, {"Precision @ 1": precision})

    def close(self) -> None:
        self._file.close()


class EventFile:
    """A new event file in a directory.

    PyTorch's SummaryWriter writes from a thread, where a full disk is a traceback that nothing can catch.
    """

    def __init__(self, directory: Path) -> None:
        """Raises UserError where the directory cannot be written to, as every method does."""
        try:
            make_directory(directory)
            self._path = directory / f"{_PREFIX}{_next_number(directory):010d}.{socket.gethostname()}.{os.getpid()}"
            self._file = self._path.open("xb")
        except OSError as error:
            raise UserError(
                f"{directory} cannot be written to ({error.strerror}); make room or choose another place."
            ) from error
        self._records = RecordWriter(self._file)
        self.write(Event(file_version="brain.Event:2"))

    def write_scalars(self, step: int, values: dict[str, float]) -> None:
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self.write(Event(step=step, summary=Summary(value=scalars)))

    def write(self, event: Event) -> None:
        """To be seen by TensorBoard at once."""
        event.wall_time = time.time()
        try:
            self._records.write(event.SerializeToString())
            self._file.flush()
        except OSError as error:
            raise not_written(self._path, error) from error

    def sync(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise not_written(self._path, error) from error

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise not_written(self._path, error) from error


def _next_number(directory: Path) -> int:
    """The time in seconds, but more than the numbers of the files that are there, whatever the clock says.

    TensorBoard reads the files in the order of their names.
    """
    numbers = [path.name.removeprefix(_PREFIX).partition(".")[0] for path in directory.glob(f"{_PREFIX}*")]
    return max([int(time.time()), *(int(number) + 1 for number in numbers if number.isdecimal())])
