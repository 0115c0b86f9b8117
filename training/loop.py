"""A run, from the first update to the last: steps, log lines, summaries, checkpoints, evaluations, early ends.

Source: `train` of the tutorial's cifar10_train.py with its MonitoredTrainingSession.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from training import resumption
from training.checkpoint import Checkpoint
from training.choices import DEFAULT_CHECKPOINT_EVERY
from training.dataset import Dataset
from training.distributed import World
from training.errors import Diverged, OtherRankFailed, Stopped, UserError
from training.evaluation import Evaluator
from training.loader import Loader
from training.network import Network
from training.progress import Reporter, Stopwatch, reporter
from training.recipe import Recipe
from training.run_directory import RunDirectory
from training.schedule import learning_rate
from training.step import TrainingStep
from training.stopping import StopRequest
from training.summaries import EVERY as SUMMARY_EVERY
from training.summaries import TrainingSummaries
from training.torchrun import is_launched

LOG_EVERY = 10  # steps, as in the tutorial; between two log lines the host never waits for the device


@dataclass(frozen=True)
class Settings:
    """What is trained, and on what."""

    recipe: Recipe
    seed: int
    device: torch.device
    precision: str  # "fp32" or "bf16"
    eval_every: int  # steps; 0: at the end alone
    checkpoint_every: int = DEFAULT_CHECKPOINT_EVERY  # steps
    fused: bool = False  # whether torch.compile fuses the network's kernels


class Run:
    def __init__(self, settings: Settings, dataset: Dataset, run_dir: RunDirectory, world: World | None = None) -> None:
        """Fresh weights; `restore` replaces them by those of the run directory's newest checkpoint.

        All ranks of the world do the same with it, each on its device; rank 0 alone writes into the run directory.
        """
        self.settings, self.dataset, self.run_dir = settings, dataset, run_dir
        self.world = world or World()
        recipe, device = settings.recipe, settings.device
        torch.manual_seed(settings.seed)
        network = Network(recipe, len(dataset.class_names))
        network.initialize(recipe.initialization, torch.Generator().manual_seed(settings.seed))
        loader = Loader(dataset.train, recipe, settings.seed, device, self.world)
        self.step = TrainingStep(
            network, recipe, loader, device, settings.precision, self.world, settings.fused, self._say
        )
        self._last_checkpoint: Checkpoint | None = None
        fingerprint = dataset.train.sha256()
        self._identity = resumption.identity(recipe, settings.seed, fingerprint)
        self.world.on_each(self._same_pictures(self.world.gather(fingerprint)))

    def restore(self) -> None:
        """Goes on where the newest sound checkpoint stands, if any. Raises UserError if it is another run's."""
        newest = self.world.on_main(lambda: resumption.load_newest(self.run_dir, self._identity))
        if newest is not None:
            self._last_checkpoint, state = newest
            self.step.load_state_dict(state)
            resumption.restore_random_state(state["random"], self.settings.device)

    def train(self) -> None:
        """Updates until the recipe's steps are done. Raises Diverged, Stopped, UserError (disk full, …)."""
        steps, first_step = self.settings.recipe.steps, self.step.updates_done
        with (
            closing(self._summaries(first_step)) as summaries,
            closing(Evaluator(self.run_dir, self.dataset, self.settings.device, self.world)) as evaluator,
            reporter(steps, first_step, silent=not self.world.is_main) as report,
            StopRequest(repeated=is_launched()) as stop,
        ):
            clock = Stopwatch(self.settings.recipe.batch_size, first_step)
            while self.step.updates_done < steps:
                losses = self.step()
                stop_signal = self._tell(losses, stop, clock, report, summaries)
                if stop_signal or self._is_due(self.settings.checkpoint_every):
                    self._save(summaries)
                if stop_signal:
                    self._end(Stopped(signal.Signals(stop_signal), self.step.updates_done, self._saved_as()))
                if self._is_due(self.settings.eval_every) and self.step.updates_done < steps:
                    self._evaluate(evaluator, report)
            report.finish(self.step.updates_done)
            self._save(summaries)
            self._evaluate(evaluator, report)
            report.say(f"Trained {self.step.updates_done} steps; the last checkpoint is {self._saved_as()}.")

    def _same_pictures(self, fingerprints: list[str]) -> Callable[[], None]:
        def check() -> None:
            if fingerprints[self.world.rank] != fingerprints[0]:
                raise UserError(
                    f"Rank {self.world.rank} has other training pictures than rank 0; give all the same data."
                )

        return check

    def _tell(
        self, losses: Tensor, stop: StopRequest, clock: Stopwatch, report: Reporter, summaries: TrainingSummaries
    ) -> int:
        """Log line and summaries, where it is time for them; returns the signal that asks to stop, or 0.

        Ranks must stop after the same update, so several of them agree about it, whenever they add up their losses.
        """
        step = self.step.updates_done - 1  # counted as the tutorial counts: the first update is step 0
        asked = stop.signal or 0
        if step % LOG_EVERY:
            return asked if self.world.size == 1 else 0
        *raw, any_asked = self.world.mean(torch.cat([losses, losses.new_tensor([float(asked > 0)])])).tolist()
        if not math.isfinite(raw[0]):
            self._diverged("NaN" if math.isnan(raw[0]) else str(raw[0]))
        interval = clock.lap(step, raw[0])
        report.report(interval)
        if step % SUMMARY_EVERY == 0:
            recipe, pictures = self.settings.recipe, len(self.dataset.train)
            rate = float(learning_rate(recipe, pictures, step))
            averaged = self.step.averaged_losses()
            self.world.on_main(lambda: summaries.write(step, raw, averaged, rate, interval.examples_per_sec))
        return max(self.world.gather(asked)) if any_asked else 0

    def _summaries(self, first_step: int) -> TrainingSummaries:
        path = self.run_dir.path if self.world.is_main else None
        return self.world.on_each(lambda: TrainingSummaries(path, first_step))

    def _evaluate(self, evaluator: Evaluator, report: Reporter) -> None:
        report.say(evaluator.evaluate(self.step.averages.network, self.step.updates_done).sentence())

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.step.updates_done % every == 0

    def _save(self, summaries: TrainingSummaries) -> None:
        if self._last_checkpoint and self._last_checkpoint.step == self.step.updates_done:
            return
        state = self.step.state_dict() | {
            "format": resumption.STATE_FORMAT,
            "identity": self._identity,
            "recipe": self.settings.recipe.as_dict(),
            "random": resumption.random_state(self.settings.device),
        }
        if not self.step.is_finite():
            self._diverged("NaN")
        self._last_checkpoint = self.world.on_main(lambda: self._write(state, summaries))

    def _write(self, state: dict[str, Any], summaries: TrainingSummaries) -> Checkpoint:
        summaries.flush()  # first: what lies behind a checkpoint is not summarized again
        return self.run_dir.checkpoints.save(self.step.updates_done, state)

    def _saved_as(self) -> Path | None:
        return self._last_checkpoint.path if self._last_checkpoint else None

    def _diverged(self, loss: str) -> None:
        kept = self._saved_as()
        self._end(
            Diverged(
                f"Model diverged with loss = {loss} before step {self.step.updates_done}; "
                + (f"the last good checkpoint is {kept}." if kept else "no checkpoint had been saved yet.")
            )
        )

    def _end(self, error: Diverged | Stopped) -> NoReturn:
        """All ranks have come to it at the same time; one tells."""
        raise error if self.world.is_main else OtherRankFailed(error.status)

    def _say(self, sentence: str) -> None:
        if self.world.is_main:
            print(sentence, flush=True)
