"""A run, from the first update to the last: steps, log lines, summaries, checkpoints, evaluations, early ends.

Source: `train` of the tutorial's cifar10_train.py with its MonitoredTrainingSession.
"""

from __future__ import annotations

import math
import signal
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from training.checkpoint import Checkpoint
from training.dataset import Dataset
from training.errors import Diverged, Stopped, UserError
from training.evaluation import Evaluator
from training.loader import Loader
from training.network import Losses, Network
from training.progress import Interval, Reporter, reporter
from training.recipe import Recipe
from training.run_directory import RunDirectory
from training.step import TrainingStep
from training.stopping import StopRequest
from training.summaries import EVERY as SUMMARY_EVERY
from training.summaries import TrainingSummaries

LOG_EVERY = 10  # steps, as in the tutorial; between two log lines the host never waits for the device
CHECKPOINT_EVERY = 1_000  # steps


@dataclass(frozen=True)
class Settings:
    """What is trained, and on what."""

    recipe: Recipe
    seed: int
    device: torch.device
    precision: str  # "fp32" or "bf16"
    eval_every: int  # steps; 0: at the end alone


class Run:
    def __init__(self, settings: Settings, dataset: Dataset, run_dir: RunDirectory) -> None:
        """Fresh weights; `restore` replaces them by those of the run directory's newest checkpoint."""
        self.settings, self.dataset, self.run_dir = settings, dataset, run_dir
        recipe = settings.recipe
        torch.manual_seed(settings.seed)
        network = Network(recipe, len(dataset.class_names))
        network.initialize(recipe.initialization, torch.Generator().manual_seed(settings.seed))
        self.step = TrainingStep(network, recipe, len(dataset.train), settings.device, settings.precision)
        self._fingerprint = dataset.train.sha256()
        self._last_checkpoint: Checkpoint | None = None

    def restore(self) -> None:
        """Goes on where the newest sound checkpoint stands, if any. Raises UserError if it is another run's."""
        newest = self.run_dir.checkpoints.load_newest()
        if newest is None:
            return
        self._last_checkpoint, state = newest
        mine, theirs = self._identity(), state["identity"]
        differing = [name for name in mine if mine[name] != theirs.get(name)]
        if differing:
            raise UserError(
                f"{self.run_dir.path} was trained with another {' and '.join(differing)}; resume it with the same, or "
                "choose another --run-dir."
            )
        self.step.load_state_dict(state)
        _restore_random_state(state["random"], self.settings.device)

    def train(self) -> None:
        """Updates until the recipe's steps are done. Raises Diverged, Stopped, UserError (disk full, …)."""
        steps, first_step = self.settings.recipe.steps, self.step.updates_done
        loader = Loader(self.dataset.train, self.settings.recipe, self.settings.seed, self.settings.device)
        with (
            closing(TrainingSummaries(self.run_dir.path, first_step)) as summaries,
            closing(Evaluator(self.run_dir, self.dataset, self.settings.device)) as evaluator,
            reporter(steps, first_step) as report,
            StopRequest() as stop,
        ):
            clock = Stopwatch(self.settings.recipe.batch_size, first_step)
            for batch in islice(loader.batches(first_step), max(0, steps - first_step)):
                learning_rate = self.step.learning_rate()
                losses = self.step(batch)
                self._tell(losses, learning_rate, clock, report, summaries)
                if stop.signal or self._is_due(CHECKPOINT_EVERY):
                    self._save(summaries)
                if stop.signal:
                    raise Stopped(signal.Signals(stop.signal), self.step.updates_done, self._saved_as())
                if self._is_due(self.settings.eval_every) and self.step.updates_done < steps:
                    self._evaluate(evaluator, report)
            report.finish(self.step.updates_done)
            self._save(summaries)
            self._evaluate(evaluator, report)
            report.say(f"Trained {self.step.updates_done} steps; the last checkpoint is {self._saved_as()}.")

    def _tell(
        self,
        losses: Losses,
        learning_rate: float,
        clock: Stopwatch,
        report: Reporter,
        summaries: TrainingSummaries,
    ) -> None:
        step = self.step.updates_done - 1  # counted as the tutorial counts: the first update is step 0
        if step % LOG_EVERY == 0:
            loss = float(losses.total)
            if not math.isfinite(loss):
                self._diverged("NaN" if math.isnan(loss) else str(loss))
            interval = clock.lap(step, loss)
            report.report(interval)
            if step % SUMMARY_EVERY == 0:
                raw = [loss, *(float(term) for term in losses)]
                averaged = self.step.loss_averages.values()
                summaries.write(step, raw, averaged, learning_rate, interval.examples_per_sec)

    def _evaluate(self, evaluator: Evaluator, report: Reporter) -> None:
        report.say(evaluator.evaluate(self.step.averages.network, self.step.updates_done).sentence())

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.step.updates_done % every == 0

    def _save(self, summaries: TrainingSummaries) -> None:
        if self._last_checkpoint and self._last_checkpoint.step == self.step.updates_done:
            return
        if not self.step.is_finite():
            self._diverged("NaN")
        summaries.flush()  # first: what lies behind a checkpoint is not summarized again
        state = self.step.state_dict() | {
            "identity": self._identity(),
            "recipe": self.settings.recipe.as_dict(),
            "random": _random_state(self.settings.device),
        }
        self._last_checkpoint = self.run_dir.checkpoints.save(self.step.updates_done, state)

    def _saved_as(self) -> Path | None:
        return self._last_checkpoint.path if self._last_checkpoint else None

    def _diverged(self, loss: str) -> None:
        kept = self._saved_as()
        raise Diverged(
            f"Model diverged with loss = {loss} before step {self.step.updates_done}; "
            + (f"the last good checkpoint is {kept}." if kept else "no checkpoint had been saved yet.")
        )

    def _identity(self) -> dict[str, Any]:
        """What must not change when a run is resumed; its length may."""
        recipe = self.settings.recipe.as_dict()
        del recipe["steps"]
        return {"recipe": recipe, "seed": self.settings.seed, "training data": self._fingerprint}


class Stopwatch:
    """The speed between two log lines, checkpoints and evaluations included, as the tutorial counts it."""

    def __init__(self, batch_size: int, first_step: int) -> None:
        self._batch_size = batch_size
        self._step, self._time = first_step - 1, time.perf_counter()

    def lap(self, step: int, loss: float) -> Interval:
        now = time.perf_counter()
        sec_per_batch = (now - self._time) / (step - self._step)
        self._step, self._time = step, now
        return Interval(step, loss, self._batch_size / sec_per_batch, sec_per_batch)


def _random_state(device: torch.device) -> dict[str, Any]:
    """PyTorch's own generators. (The loader needs none: the seed and the step decide its pictures.)"""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
