"""TensorBoard event files, with the tutorial's tags, every 100 steps as there.

RUN/events.out.tfevents…        loss terms raw and averaged, learning rate, examples/sec
RUN/eval/events.out.tfevents…   Precision @ 1
"""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from training.errors import UserError
from training.network import LOSS_NAMES

EVERY = 100  # steps; the tutorial's MonitoredTrainingSession saves summaries this often


class TrainingSummaries:
    """The scalars of a run. Opened at a step, it hides what an earlier process wrote beyond that step."""

    def __init__(self, run_dir: Path | None, first_step: int) -> None:
        """Without a directory nothing is written: of several ranks, one writes."""
        self._writer = SummaryWriter(str(run_dir), purge_step=first_step) if run_dir else None

    def write(
        self, step: int, raw: list[float], averaged: list[float], learning_rate: float, examples_per_sec: float
    ) -> None:
        """`raw` and `averaged` hold the losses in the order of `LOSS_NAMES`; the learning rate is that of this step."""
        if self._writer is None:
            return
        for name, now, average in zip(LOSS_NAMES, raw, averaged, strict=True):
            self._writer.add_scalar(f"{name} (raw)", now, step)
            self._writer.add_scalar(name, average, step)
        self._writer.add_scalar("learning_rate", learning_rate, step)
        self._writer.add_scalar("examples_per_sec", examples_per_sec, step)

    def flush(self) -> None:
        """Writes to the file what has been waiting for it."""
        if self._writer:
            self._writer.flush()

    def close(self) -> None:
        if self._writer:
            self._writer.close()


class EvaluationSummaries:
    """Precision @ 1 over the steps, as a TensorBoard run of its own beside the training's."""

    def __init__(self, run_dir: Path) -> None:
        """Raises UserError where the directory cannot be written to."""
        try:
            self._writer = SummaryWriter(str(run_dir / "eval"))
        except OSError as error:
            raise UserError(
                f"{run_dir / 'eval'} cannot be written to ({error.strerror or error}); evaluate a run in a directory "
                "that can be."
            ) from error

    def write(self, step: int, precision: float) -> None:
        self._writer.add_scalar("Precision @ 1", precision, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
