"""Fixtures of the trainer's tests: real pictures, commands, and runs that several tests look at."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.processes import Command, Finished, RunCommand, StartCommand
from tests.training.ranks import RANKS_STEPS, SAVING, TORCHRUN, Launcher, StartLauncher
from tests.training.runs import TRAINED_STEPS, start_run, train_command
from training.dataset import Dataset, Split
from training.named_datasets import load
from training.provenance import now
from training.recipe import Recipe
from training.recipe_parts import TutorialArchitecture


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Networks this small gain nothing from two threads on a machine that runs other tests beside these."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded pictures go to a folder that ends with the tests, from the commands that they start, too."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def cifar10(cifar10_dir: Path) -> Dataset:
    return load("cifar10", cifar10_dir)


@pytest.fixture(scope="session")
def few_pictures(cifar10: Dataset) -> Dataset:
    """The first 200 training and 100 test pictures."""
    return Dataset(cifar10.name, cifar10.class_names, _first(cifar10.train, 200), _first(cifar10.test, 100))


def _first(split: Split, count: int) -> Split:
    return Split(split.images[:count], split.labels[:count])


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartCommand]:
    """Starts commands, which end with the tests."""
    started: list[Command] = []

    def start(*arguments: object, interpreter: bool = False, file_bytes: int | None = None) -> Command:
        started.append(Command(arguments, tmp_path_factory.mktemp("command"), interpreter, file_bytes))
        return started[-1]

    yield start
    for command in started:
        command.kill()


@pytest.fixture(scope="session")
def run(start: StartCommand) -> RunCommand:
    """Runs commands to their end."""

    def run(*arguments: object, interpreter: bool = False, file_bytes: int | None = None) -> Finished:
        return start(*arguments, interpreter=interpreter, file_bytes=file_bytes).finish()

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, cifar10_dir: Path, run: RunCommand) -> tuple[Path, Finished]:
    """The directory of a run that nothing disturbed, and what its command printed. Not to be written to."""
    run_dir = tmp_path_factory.mktemp("trained") / "runs" / "one"
    finished = run(*train_command(run_dir, cifar10_dir, TRAINED_STEPS), interpreter=True)
    assert finished.status == 0, finished.errors
    return run_dir, finished


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory, cifar10: Dataset, few_pictures: Dataset) -> Path:
    """The directory of a run whose network tells pictures apart after seconds. Not to be written to.

    The tutorial's first layer sleeps for a thousand steps, during which every picture gets the same answer.
    """
    recipe = replace(
        Recipe(), name="awake", steps=60, batch_size=64, network=TutorialArchitecture(conv1=0.1, conv2=0.03)
    )
    recipe = replace(recipe, learning_rate=0.03)
    run = start_run(tmp_path_factory.mktemp("learned"), replace(cifar10, test=few_pictures.test), recipe)
    run.run_dir.write_description(
        {"recipe": recipe.as_dict(), "dataset": "cifar10", "source_revision": "0123abc", "started": now()}
    )
    run.train()
    return run.run_dir.path


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartLauncher]:
    """Starts launchers of ranks, which end with the tests."""
    started: list[Launcher] = []

    def launch(*arguments: object, environment: dict[str, str] | None = None) -> Launcher:
        started.append(Launcher(arguments, tmp_path_factory.mktemp("launcher"), environment))
        return started[-1]

    yield launch
    for launcher in started:
        launcher.kill()


@pytest.fixture(scope="session")
def by_torchrun(
    tmp_path_factory: pytest.TempPathFactory, cifar10_dir: Path, launch: StartLauncher
) -> tuple[Path, Finished]:
    """A run of two ranks that nothing disturbed, eight pictures each. Not to be written to."""
    run_dir = tmp_path_factory.mktemp("by_torchrun") / "run"
    finished = launch(*TORCHRUN, "-m", "training", *train_command(run_dir, cifar10_dir, RANKS_STEPS, *SAVING)).finish()
    assert finished.status == 0, finished.errors
    return run_dir, finished


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory, cifar10_dir: Path, run: RunCommand) -> tuple[Path, Finished]:
    """The same run, by one rank with sixteen pictures. Not to be written to."""
    run_dir = tmp_path_factory.mktemp("alone") / "run"
    finished = run(*train_command(run_dir, cifar10_dir, RANKS_STEPS, *SAVING, "--batch-size", 16))
    assert finished.status == 0, finished.errors
    return run_dir, finished
