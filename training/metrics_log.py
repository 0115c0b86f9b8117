"""RUN/metrics.jsonl: what was measured while a run trained, one JSON object a line, in the order in which it happened.

{"kind": "start", "step": 0, "time": "2026-11-23T09:30:00.123+00:00", "command": "python -m training train …", …}
{"kind": "train", "step": 10, "time": …, "losses": {"total_loss": 4.64, …}, "averaged_losses": {…}, …}
{"kind": "eval", "step": 5000, "time": …, "precision_at_1": 0.724, …}
{"kind": "end", "step": 60000, "time": …, "updates": 60000, "seconds": 1712.303}

Every key is in docs/run-directory.md. `step` of "train" is the update's number, 0 for the first; of the others it is
the number of updates done. A run that is resumed takes back what was measured beyond its checkpoint's step.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training.errors import UserError
from training.files import make_directory, not_written, write_atomically

NAME = "metrics.jsonl"
_LOCK = ".metrics.lock"

Record = dict[str, Any]


class MetricsLog:
    """Lines are appended whole, by several processes if need be (a training, and an `eval --watch` beside it).

    Every method but `read` raises UserError where the directory cannot be written to.
    """

    def __init__(self, run_dir: Path) -> None:
        self._directory, self._path = run_dir, run_dir / NAME

    def start(self, step: int, session: Record) -> list[Record]:
        """A process begins to train after `step` updates; what was measured beyond them will be measured again.

        Returns the records that stay.
        """
        with self._alone():
            kept = [record for record in self.read() if not _is_beyond(record, step)]
            lines = _lines([*kept, measured("start", step, session)])
            write_atomically(self._path, lambda file: file.write(lines))
        return kept

    def append(self, records: Iterable[Record]) -> None:
        """Takes what `measured` returns."""
        lines = _lines(records)
        if not lines:
            return
        # Without a buffer: what is left in one is written when the file is closed, whatever was taken back before.
        with self._alone(), self._path.open("ab", buffering=0) as file:
            end = file.tell()
            left = memoryview(lines if self._ends_with_a_line() else b"\n" + lines)
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                file.truncate(end)  # no half of a line
                raise

    def sync(self) -> None:
        """Lasts: what has been appended survives a loss of power from here on."""
        try:
            with self._path.open("ab") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise not_written(self._path, error) from error

    def read(self) -> list[Record]:
        """All records, oldest first; none where nothing has been trained. Raises UserError where it can't be read.

        A line that is no JSON object is passed over: a loss of power can leave one.
        """
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self._path} cannot be read ({error.strerror}); check the permissions.") from error
        return [record for record in map(_parsed, lines) if record is not None]

    def _ends_with_a_line(self) -> bool:
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            return file.read() in (b"", b"\n")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            make_directory(self._directory)
            with (self._directory / _LOCK).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise not_written(self._path, error) from error


def measured(kind: str, step: int, values: Record) -> Record:
    """A record of this moment."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"kind": kind, "step": step, "time": time, **values}


def _is_beyond(record: Record, step: int) -> bool:
    """Whether it was measured after more than `step` updates."""
    updates = record["step"] + (record["kind"] == "train")
    return bool(updates > step)


def _lines(records: Iterable[Record]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"kind", "step"} <= record.keys() else None
