"""A file of outcomes, one JSON object a line, so that hours of trainings outlast what ends the program."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.outcome import Outcome
from training.errors import UserError


class KeptOutcomes:
    def __init__(self, path: Path | None) -> None:
        """Reads the file, where it is there. Keeps nothing without a path. Raises UserError if it is another file."""
        self._path = path
        self._known: dict[tuple[str, int], Outcome] = {}
        lines = path.read_text().splitlines() if path and path.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                self._known[record["trained"], record["seed"]] = Outcome(**record["outcome"])
            except (ValueError, TypeError, KeyError) as error:
                raise UserError(f"{path} has no outcome in line {number}; name another file with --keep.") from error

    def find(self, identity: str, seed: int) -> Outcome | None:
        return self._known.get((identity, seed))

    def add(self, identity: str, seed: int, outcome: Outcome) -> None:
        if self._path is None:
            return
        record = {"trained": identity, "seed": seed, "outcome": outcome._asdict()}
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
