"""Errors that a person can mend: one sentence on the terminal and an exit status, no traceback."""

from pathlib import Path
from signal import Signals
from typing import ClassVar


class UserError(Exception):
    """Something a person can mend. Its text is one sentence: what is wrong, what was expected, what to do."""

    status: ClassVar[int] = 2
    """The exit status of a command that ends with this error."""


class NoNetwork(UserError):
    """What was wanted cannot be had over the network; a command may go on without it."""

    status: ClassVar[int] = 3


class Diverged(UserError):
    """The loss is no number any more; going on would be in vain."""

    status: ClassVar[int] = 1


class ExportFailed(UserError):
    """The exported graph does not compute what was trained."""

    status: ClassVar[int] = 1


class OtherRankFailed(Exception):
    """Another rank of the training has said what is wrong; this one ends silently, with the same exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"another rank ended with status {status}")
        self.status = status


class LostRank(UserError):
    """Another rank was killed, or its machine; torchrun starts all of them again, if it was told to."""

    status: ClassVar[int] = 1

    def __init__(self, rank: int) -> None:
        super().__init__(
            f"Rank {rank} has lost the connection to another rank; what was trained since the last checkpoint is lost, "
            "start again with --resume."
        )


class Stopped(Exception):
    """SIGTERM or Ctrl-C arrived, and everything was saved."""

    def __init__(self, signal: Signals, step: int, checkpoint: Path | None) -> None:
        super().__init__(f"Stopped by {signal.name} after {step} steps, saved as {checkpoint}.")
        self.status = 128 + signal
        """The exit status of a process that the signal ended."""
