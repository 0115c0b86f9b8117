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

from training import resumption
from training.checkpoint import Checkpoint
from training.choices import DEFAULT_CHECKPOINT_EVERY, DEFAULT_SUMMARIES
from training.dataset import Dataset
from training.distributed import World
from training.errors import Diverged, OtherRankFailed, Stopped, UserError
from training.evaluation import Evaluator
from training.heap import keep_freed_memory
from training.interval import Interval, Stopwatch, TrainingTime
from training.loader import Loader
from training.networks import make_network
from training.progress import Reporter, reporter
from training.recipe import Recipe
from training.recorder import Recorder
from training.run_directory import RunDirectory
from training.schedule import learning_rate
from training.step import TrainingStep, Update
from training.stopping import StopRequest
from training.summaries import EVERY as SUMMARY_EVERY
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
    summaries: str = DEFAULT_SUMMARIES  # "off", "scalars" or "full"


class Run:
    def __init__(self, settings: Settings, dataset: Dataset, run_dir: RunDirectory, world: World | None = None) -> None:
        """Fresh weights; `restore` replaces them by those of the run directory's newest checkpoint.

        All ranks of the world do the same with it, each on its device; rank 0 alone writes into the run directory.
        """
        self.settings, self.dataset, self.run_dir = settings, dataset, run_dir
        self.world = world or World()
        recipe, device = settings.recipe, settings.device
        torch.manual_seed(settings.seed)
        network = make_network(recipe, len(dataset.class_names))
        network.initialize(torch.Generator().manual_seed(settings.seed), dataset.train.images)
        loader = Loader(dataset.train, recipe, network.normalization, settings.seed, device, self.world)
        self.step = TrainingStep(
            network, recipe, loader, device, settings.precision, self.world, settings.fused, self._say
        )
        self._last_checkpoint: Checkpoint | None = None
        fingerprint = dataset.train.sha256()
        self._identity = resumption.identity(recipe, settings.seed, fingerprint)
        self.world.on_each(self._same_pictures(self.world.gather(fingerprint)))

    def restore(self) -> None:
        """Goes on where the newest sound checkpoint stands, if any. Raises UserError if it is another run's."""
        newest = self.world.on_main(lambda: resumption.load_to_resume(self.run_dir, self._identity))
        if newest is not None:
            self._last_checkpoint, state = newest
            self.step.load_state_dict(state)
            resumption.restore_random_state(state["random"], self.settings.device)

    def train(self, session: dict[str, Any] | None = None) -> None:
        """Updates until the recipe's steps are done. Raises Diverged, Stopped, UserError (disk full, …).

        `session` is what metrics.jsonl is to say of this process.
        """
        steps, first_step = self.settings.recipe.steps, self.step.updates_done
        if self.settings.device.type == "cuda":
            self.step.warm_up(observed=self.settings.summaries == "full")
        else:
            keep_freed_memory()
        with (
            closing(self.step),
            closing(self._recorder(first_step, session or {})) as recorder,
            closing(self._evaluator()) as evaluator,
            reporter(steps, first_step, self._title(), silent=not self.world.is_main) as report,
            StopRequest(repeated=is_launched()) as stop,
        ):
            report.evaluated(recorder.last_accuracy)
            clock, time = Stopwatch(self.settings.recipe.batch_size, first_step), TrainingTime(self.settings.device)
            while self.step.updates_done < steps:
                update = self.step(observed=self._is_observed())
                stop_signal = self._tell(update, stop, clock, report, recorder)
                if stop_signal or self._is_due(self.settings.checkpoint_every):
                    with time.paused():
                        self._save(recorder)
                if stop_signal:
                    self._end(Stopped(signal.Signals(stop_signal), self.step.updates_done, self._saved_as()))
                if self._is_due(self.settings.eval_every) and self.step.updates_done < steps:
                    with time.paused():
                        self._evaluate(evaluator, report, recorder)
            done, seconds = self.step.updates_done, time.seconds()
            report.finish(done)
            report.say(f"The updates took {seconds:.2f} s, checkpoints and evaluations left out.")
            self._save(recorder)
            recorder.ended(done, done - first_step, seconds)
            self._evaluate(evaluator, report, recorder)
            report.say(f"Trained {done} steps; the last checkpoint is {self._saved_as()}.")

    def _same_pictures(self, fingerprints: list[str]) -> Callable[[], None]:
        def check() -> None:
            if fingerprints[self.world.rank] != fingerprints[0]:
                raise UserError(
                    f"Rank {self.world.rank} has other training pictures than rank 0; give all the same data."
                )

        return check

    def _tell(self, update: Update, stop: StopRequest, clock: Stopwatch, report: Reporter, recorder: Recorder) -> int:
        """Log line, records, summaries, where it is time for them; returns the signal that asks to stop, or 0.

        Ranks must stop after the same update, so several of them agree about it, whenever they add up their losses, or
        after each update where ten of them would take longer than whoever asks waits.
        """
        step = self.step.updates_done - 1  # counted as the tutorial counts: the first update is step 0
        asked = stop.signal or 0
        if step % LOG_EVERY:
            return max(self.world.gather(asked)) if self.world.size == 1 or self._has_long_updates() else 0
        losses, averaged, any_asked = self.step.mean_over_ranks(update.losses, float(asked > 0))
        if not math.isfinite(losses["total_loss"]):
            self._diverged("NaN" if math.isnan(losses["total_loss"]) else str(losses["total_loss"]))
        recipe = self.settings.recipe
        rate = float(learning_rate(recipe, recipe.groups[0], len(self.dataset.train), step))
        interval = Interval(step, losses, averaged, rate, *clock.lap(step))
        report.report(interval)
        recorder.add(interval)
        if step % SUMMARY_EVERY == 0:
            self.world.on_main(lambda: recorder.summarize(interval, update.observation))
        return max(self.world.gather(asked)) if any_asked else 0

    def _has_long_updates(self) -> bool:
        recipe = self.settings.recipe
        return recipe.epochs is not None and self.settings.device.type == "cpu"

    def _is_observed(self) -> bool:
        """Whether TensorBoard is to be shown what the next update looks like from inside."""
        return self.settings.summaries == "full" and self.step.updates_done % SUMMARY_EVERY == 0

    def _title(self) -> str:
        return f"{self.settings.recipe.name} on {self.dataset.name}, into {self.run_dir.path}"

    def _recorder(self, first_step: int, session: dict[str, Any]) -> Recorder:
        path = self.run_dir.path if self.world.is_main else None
        return self.world.on_each(lambda: Recorder(path, first_step, self.settings.summaries, session))

    def _evaluator(self) -> Evaluator:
        summaries = self.settings.summaries != "off"
        return Evaluator(self.run_dir, self.dataset, self.settings.device, summaries, self.world)

    def _evaluate(self, evaluator: Evaluator, report: Reporter, recorder: Recorder) -> None:
        self.world.on_main(recorder.flush)  # first: what happened earlier stands further up
        self.step.agree_on_statistics()
        evaluation = evaluator.evaluate(self.step.averages.network, self.step.updates_done)
        report.evaluated(evaluation.accuracy.overall)
        report.say(evaluation.sentence())

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.step.updates_done % every == 0

    def _save(self, recorder: Recorder) -> None:
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
        self._last_checkpoint = self.world.on_main(lambda: self._write(state, recorder))

    def _write(self, state: dict[str, Any], recorder: Recorder) -> Checkpoint:
        recorder.sync()  # first: what lies behind a checkpoint is not summarized again
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
