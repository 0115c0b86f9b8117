"""Evaluating a run with its averaged weights: once, or every new checkpoint while it trains (the tutorial's
cifar10_eval.py, which restored the averages the same way)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from rich.cells import cell_len, set_cell_size

from training.accuracy import Accuracy, measure
from training.checkpoint import Checkpoint
from training.dataset import Dataset
from training.distributed import World
from training.errors import UserError
from training.metrics_log import MetricsLog, measured
from training.network import Network
from training.networks import make_network
from training.provenance import now
from training.recipe import from_dict
from training.resumption import load_newest
from training.run_directory import RunDirectory
from training.summaries import EvaluationSummaries


@dataclass(frozen=True)
class Evaluation:
    step: int
    accuracy: Accuracy
    class_names: tuple[str, ...]

    def sentence(self) -> str:
        correct, pictures = sum(self.accuracy.correct), sum(self.accuracy.pictures)
        return f"step {self.step}: precision @ 1 = {self.accuracy.overall:.4f} ({correct} of {pictures} test pictures)"

    def as_dict(self) -> dict[str, Any]:
        return {
            "precision_at_1": self.accuracy.overall,
            "correct": sum(self.accuracy.correct),
            "pictures": sum(self.accuracy.pictures),
            "per_class": self.accuracy.per_class(self.class_names),
        }

    def table(self) -> str:
        """One line a class."""
        width = max(map(cell_len, self.class_names))
        rows = self.accuracy.per_class(self.class_names).items()
        return "\n".join(f"  {set_cell_size(name, width)}  {accuracy:.4f}" for name, accuracy in rows)


class Evaluator:
    """Evaluates networks of one run on the test split, and writes what it finds into the run's directory."""

    def __init__(
        self,
        run_dir: RunDirectory,
        dataset: Dataset,
        device: torch.device,
        summaries: bool,
        world: World | None = None,
    ) -> None:
        """Each rank of the world evaluates a part of the pictures; rank 0 writes, for TensorBoard too if `summaries`.

        Raises UserError where it can't.
        """
        self._run_dir, self._dataset, self._device = run_dir, dataset, device
        self._world = world or World()
        self._fingerprint = dataset.test.sha256()
        self._summaries = self._world.on_each(
            lambda: EvaluationSummaries(run_dir.path) if summaries and self._world.is_main else None
        )

    def evaluate(self, network: Network, step: int) -> Evaluation:
        """`network` is on the device and holds the averaged weights after `step` updates."""
        class_names = self._dataset.class_names
        accuracy = measure(network, self._dataset.test, len(class_names), self._device, self._world)
        evaluation = Evaluation(step, accuracy, class_names)
        self._world.on_main(lambda: self._write(evaluation))
        return evaluation

    def close(self) -> None:
        if self._summaries:
            self._summaries.close()

    def _write(self, evaluation: Evaluation) -> None:
        if self._summaries:
            self._summaries.write(evaluation.step, evaluation.accuracy.overall)
        MetricsLog(self._run_dir.path).append([measured("eval", evaluation.step, evaluation.as_dict())])
        self._run_dir.write_json("eval.json", self._description(evaluation))

    def _description(self, evaluation: Evaluation) -> dict[str, Any]:
        return {
            "step": evaluation.step,
            **evaluation.as_dict(),
            "weights": "averaged",
            "dataset": self._dataset.name,
            "split": "test",
            "data_sha256": self._fingerprint,
            "evaluated": now(),
        }


def averaged_network(state: dict[str, Any], classes: int, device: torch.device) -> Network:
    """The network with the averaged weights of a checkpoint's state, on the device."""
    network = make_network(from_dict(state["recipe"]), classes)
    network.load_state_dict(state["averages"])
    return network.requires_grad_(False).eval().to(device).to(memory_format=torch.channels_last)


def newest_checkpoint(run_dir: RunDirectory) -> tuple[Checkpoint, dict[str, Any]]:
    """Raises UserError where the run has none, or another version's."""
    newest = load_newest(run_dir)
    if newest is None:
        raise UserError(f"{run_dir.path} has no checkpoint yet; wait for the first, or train it further with --resume.")
    return newest


def evaluate_newest(run_dir: RunDirectory, dataset: Dataset, device: torch.device) -> Evaluation:
    """Evaluates the run's newest checkpoint. Raises UserError where it has none."""
    checkpoint, state = newest_checkpoint(run_dir)
    network = averaged_network(state, len(dataset.class_names), device)
    with closing(Evaluator(run_dir, dataset, device, _has_summaries(run_dir))) as evaluator:
        return evaluator.evaluate(network, checkpoint.step)


def watch(run_dir: RunDirectory, dataset: Dataset, device: torch.device, interval: float) -> Iterator[Evaluation]:
    """Evaluates each checkpoint as it appears, looking every `interval` seconds, until the run's last step is done.

    Where checkpoints appear faster than they can be evaluated, the newest is taken and those between are passed over.
    """
    seen, last = -1, 0
    with closing(Evaluator(run_dir, dataset, device, _has_summaries(run_dir))) as evaluator:
        while seen < last:
            newest = load_newest(run_dir) if _newest_step(run_dir) > seen else None
            if newest is None or newest[0].step <= seen:  # there is none, or what is newer is damaged
                time.sleep(interval)
                continue
            checkpoint, state = newest
            network = averaged_network(state, len(dataset.class_names), device)
            seen, last = checkpoint.step, network.recipe.steps
            yield evaluator.evaluate(network, seen)


def _newest_step(run_dir: RunDirectory) -> int:
    checkpoints = run_dir.checkpoints.all()
    return checkpoints[-1].step if checkpoints else -1


def _has_summaries(run_dir: RunDirectory) -> bool:
    return (run_dir.description() or {}).get("summaries") != "off"
