"""Runs and pictures for the tests of the report."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.training.plain_network import logits
from tests.training.runs import final_state
from training.dataset import Dataset, Split
from training.metrics_log import MetricsLog, measured

PICTURES = 1_000


def probabilities_of(run_dir: Path, images: torch.Tensor) -> torch.Tensor:
    """float32 [N, classes], of another implementation of the network."""
    return torch.softmax(logits(final_state(run_dir)["averages"], images), dim=1)


def with_clear_pictures(dataset: Dataset, run_dir: Path) -> Dataset:
    """A thousand pictures to test with, of which the run finds none to be as much one class as another.

    Another order of additions would tip such a one.
    """
    images, labels = dataset.test.images[: PICTURES + 100], dataset.test.labels[: PICTURES + 100]
    best = probabilities_of(run_dir, images).topk(2).values
    clear = (best[:, 0] - best[:, 1] > 1e-4).nonzero().flatten()[:PICTURES]
    assert len(clear) == PICTURES
    return replace(dataset, test=Split(images[clear], labels[clear]))


def with_history(run_dir: Path, destination: Path) -> Path:
    """A copy of a run, with a history that two sessions wrote."""
    path = Path(shutil.copytree(run_dir, destination))
    path.joinpath("metrics.jsonl").unlink(missing_ok=True)
    description = json.loads((path / "recipe.json").read_bytes())
    described = {
        "seed": 3,
        "precision": "fp32",
        "device": "CPU, 2 threads",
        "cpu_threads": 2,
        "libraries": {"torch": "2.15.0"},
    }
    (path / "recipe.json").write_text(json.dumps(description | described))
    log = MetricsLog(path)
    log.start(0, {"device": "CPU, 2 threads", "world_size": 1, "precision": "fp32"})
    log.append(_train_record(step) for step in range(0, 30, 10))
    log.append([measured("eval", 30, {"precision_at_1": 0.25, "correct": 250, "pictures": PICTURES})])
    log.start(30, {"device": "CPU, 1 thread", "world_size": 1, "precision": "fp32"})
    log.append(_train_record(step) for step in range(30, 60, 10))
    log.append([measured("eval", 60, {"precision_at_1": 0.31, "correct": 310, "pictures": PICTURES})])
    return path


def _train_record(step: int) -> dict[str, Any]:
    losses = {"total_loss": 4.6 - step / 50, "cross_entropy": 2.3 - step / 50, "local3/weight_loss": 2.3}
    return measured(
        "train",
        step,
        {
            "losses": losses,
            "averaged_losses": losses,
            "learning_rate": 0.03 if step < 40 else 0.003,
            "examples_per_sec": 640.0,
        },
    )
