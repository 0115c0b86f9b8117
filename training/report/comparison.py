"""Runs side by side, from their plain files alone: recipe.json, metrics.jsonl, eval.json."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.errors import UserError
from training.report.description import described
from training.report.history import History
from training.report.numbers import MISSING, count, duration, percent, speed
from training.report.settings import flattened
from training.run_directory import RunDirectory


@dataclass(frozen=True, eq=False)
class ComparedRun:
    label: str
    """The shortest end of its path that none of the others has."""
    path: Path
    description: dict[str, Any]
    evaluation: dict[str, Any] | None
    """What eval.json says, if there is one."""
    history: History

    @property
    def batch_size(self) -> int:
        return int(self.description["recipe"]["batch_size"])

    @cached_property
    def hyperparameters(self) -> dict[str, str]:
        return flattened(self.description["recipe"] | {"seed": self.description.get("seed")})

    def facts(self) -> dict[str, str]:
        """What a table says of it, first line to last."""
        recipe, middle = self.description["recipe"], self.history.median_speed()
        spent = self.history.seconds_in_all(self.batch_size)
        losses = self.history.values("averaged_losses", "total_loss")
        done = self._updates_done()
        return {
            "data": self.description["dataset"],
            "recipe": recipe["name"],
            "steps": f"{count(done)} of {count(recipe['steps'])}" if done else f"{MISSING} of {count(recipe['steps'])}",
            "precision @ 1": percent(self.evaluation["precision_at_1"]) if self.evaluation else MISSING,
            "loss, averaged, last": f"{losses[-1]:.3f}" if len(losses) and np.isfinite(losses[-1]) else MISSING,
            "pictures/s, median": speed(middle) if middle is not None else MISSING,
            "time spent training": duration(spent) if spent is not None else MISSING,
            "device": self.description.get("device", MISSING),
            "precision": self.description.get("precision", MISSING),
        }

    def _updates_done(self) -> int:
        """The furthest that any of its files tells of."""
        checkpoints = RunDirectory(self.path).checkpoints.all()
        evaluated: int = (self.evaluation or {}).get("step", 0)
        return max([self.history.updates_done(), evaluated, *(checkpoint.step for checkpoint in checkpoints)])


@dataclass(frozen=True, eq=False)
class Comparison:
    runs: tuple[ComparedRun, ...]

    def facts(self) -> list[tuple[str, list[str]]]:
        """Rows of the table: what is told, and of each run what is so."""
        told = [run.facts() for run in self.runs]
        return [(name, [facts[name] for facts in told]) for name in told[0]]

    def differing(self) -> list[tuple[str, list[str]]]:
        """The hyperparameters that are not the same in all runs, and the seed."""
        names = dict.fromkeys(name for run in self.runs for name in run.hyperparameters)
        rows = [(name, [run.hyperparameters.get(name, MISSING) for run in self.runs]) for name in names]
        # The name and the number of steps are in every table.
        return [(name, row) for name, row in rows if len(set(row)) > 1 and name not in ("name", "steps")]

    def warnings(self) -> list[str]:
        """Sentences about what must not be compared."""
        groups: dict[tuple[Any, Any], list[str]] = {}
        for run in self.runs:
            if run.evaluation:
                pictures = run.evaluation.get("split"), run.evaluation.get("data_sha256")
                groups.setdefault(pictures, []).append(run.label)
        if len(groups) < 2:
            return []
        sets = ", on another ".join(" and ".join(labels) for labels in groups.values())
        return [f"Not comparable, for they were evaluated on different pictures: on one set {sets}."]

    def table(self, *, lines: bool = True) -> Table:
        """A column a run; without `lines`, as a file or another program wants it."""
        table = Table(box=box.SIMPLE_HEAD if lines else None, pad_edge=False)
        table.add_column("run", no_wrap=True)
        for run in self.runs:
            table.add_column(Text(run.label), overflow="fold")
        for name, row in self.facts():
            table.add_row(name, *map(Text, row))
        for position, (name, row) in enumerate(self.differing()):
            if position == 0:
                table.add_section()
            table.add_row(Text(name), *map(Text, row))
        return table

    def show(self) -> None:
        """Prints the table and the warnings; one line a row where the output is no terminal."""
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=1_000 + 1_000 * len(self.runs))
        console.print(self.table(lines=console.is_terminal))
        for sentence in self.warnings():
            console.print(sentence, markup=False, soft_wrap=True)


def compare(run_dirs: Sequence[Path]) -> Comparison:
    """In the order given; a directory that is named twice is compared once.

    Raises UserError where one of them is no run, or one of its files can't be read.
    """
    named: dict[Path, Path] = {}
    for path in run_dirs:
        named.setdefault(path.resolve(), path)
    descriptions = [(path, described(RunDirectory(path))) for path in named.values()]
    labels = _labels(list(named))
    return Comparison(
        tuple(
            ComparedRun(label, path, description, _evaluation(path), History.read(path))
            for label, (path, description) in zip(labels, descriptions, strict=True)
        )
    )


def _evaluation(run_dir: Path) -> dict[str, Any] | None:
    path = run_dir / "eval.json"
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        return {"precision_at_1": content["precision_at_1"]} | content
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the disk and the permissions.") from error
    except (ValueError, TypeError, KeyError) as error:
        again = f"python -m training eval --run-dir {shlex.quote(str(run_dir))}"
        raise UserError(f"{path} is damaged; measure again with: {again}") from error


def _labels(paths: Sequence[Path]) -> list[str]:
    """Of different absolute paths, each one's shortest end that is not the end of another."""
    return [_label(path, [other for other in paths if other != path]) for path in paths]


def _label(path: Path, others: Sequence[Path]) -> str:
    for length in range(1, len(path.parts)):
        end = path.parts[-length:]
        if all(other.parts[-length:] != end for other in others):
            return "/".join(end)
    return str(path)
