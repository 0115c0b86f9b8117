"""Runs for the tests: on the command line, and in the test's own process, where a command would add nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from training.checkpoint import CheckpointDirectory
from training.choices import DEFAULT_SUMMARIES
from training.dataset import Dataset
from training.loop import Run, Settings
from training.recipe import Recipe
from training.run_directory import RunDirectory

TRAINED_STEPS = 300
ENDLESS = 1_000_000  # steps of a training that is to be interrupted, however late
LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}: step (\d+), loss = (\d+\.\d\d) "
    r"\((\d+\.\d) examples/sec; (\d+\.\d{3}) sec/batch\)"
)


def train_command(run_dir: Path, data_dir: Path, steps: int, *more: object) -> list[object]:
    """A training that takes seconds: eight pictures a step, and no report."""
    where = ["train", "--data-dir", data_dir, "--run-dir", run_dir]
    return [*where, "--steps", steps, "--batch-size", 8, "--seed", 3, "--precision", "fp32", "--no-report", *more]


def start_run(
    path: Path,
    dataset: Dataset,
    recipe: Recipe,
    precision: str = "fp32",
    seed: int = 3,
    summaries: str = DEFAULT_SUMMARIES,
) -> Run:
    """A run in this process, at the newest checkpoint in `path`."""
    settings = Settings(recipe, seed, torch.device("cpu"), precision, eval_every=0, summaries=summaries)
    run = Run(settings, dataset, RunDirectory(path))
    run.restore()
    return run


def small_recipe(steps: int, batch_size: int = 8) -> Recipe:
    return replace(Recipe(), steps=steps, batch_size=batch_size)


def logged_losses(output: str) -> dict[int, str]:
    """Step to loss, as printed."""
    return {int(match[1]): match[2] for match in LOG_LINE.finditer(output)}


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a directory's event files: tag to steps and values."""
    events = EventAccumulator(str(directory)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def final_state(run_dir: Path) -> dict[str, Any]:
    newest = CheckpointDirectory(run_dir / "checkpoints").load_newest()
    assert newest
    return newest[1]


def assert_same(one: Any, other: Any, where: str = "state") -> None:
    """Two states are the same to the bit."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for position, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}.{position}")
    else:
        assert one == other, where


def snapshot(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, and its content."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def checkpoint_names(run_dir: Path) -> list[str]:
    """The checkpoints' names, each of which holds a checksum of all that is in it."""
    return [checkpoint.path.name for checkpoint in CheckpointDirectory(run_dir / "checkpoints").all()]


def check_same_weights(one: Path, other: Path, step: int) -> None:
    torch.testing.assert_close(_state_after(one, step), _state_after(other, step), rtol=0, atol=1e-6)


def _state_after(run_dir: Path, step: int) -> dict[str, dict[str, torch.Tensor]]:
    (checkpoint,) = [found for found in CheckpointDirectory(run_dir / "checkpoints").all() if found.step == step]
    state = checkpoint.load()
    return {part: state[part] for part in ("network", "averages")}
