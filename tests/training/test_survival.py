"""SIGKILL at any moment: what is visible is sound, and the run goes on to where it would have ended undisturbed."""

import io
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch

from tests.training.processes import SECONDS, fork
from tests.training.runs import assert_same, final_state, scalars, small_recipe
from training.checkpoint import CheckpointDirectory
from training.cifar10 import CLASS_NAMES
from training.dataset import Dataset, Split
from training.loop import Run, Settings
from training.metrics_log import NAME, MetricsLog
from training.run_directory import RunDirectory

FAR = 10_000  # steps, which no life reaches
OPERATIONS = re.compile(r"open|os\.(mkdir|rename|remove)|fcntl\.flock")
"""Python's audit events at which something is about to happen to a file."""


def live(run_dir: Path, pictures: Path, steps: int, die_at: int, every: int) -> None:
    """What `train --resume` does, on few pictures; kills itself before operation `die_at` on `run_dir`, if not -1."""
    torch.set_num_threads(1)
    sys.stdout = io.TextIOWrapper((pictures.parent / "stdout").open("wb", buffering=0))
    if die_at >= 0:
        sys.addaudithook(Reaper(run_dir, die_at))
    directory = RunDirectory(run_dir)
    directory.open_for_training(resume=True, overwrite=False)
    directory.description()
    recipe = small_recipe(steps, batch_size=4)
    settings = Settings(
        recipe, seed=3, device=torch.device("cpu"), precision="fp32", eval_every=3, checkpoint_every=every
    )
    splits = torch.load(pictures)
    dataset = Dataset("cifar10", CLASS_NAMES, Split(*splits["train"]), Split(*splits["test"]))
    run = Run(settings, dataset, directory)
    run.restore()
    directory.write_description({"recipe": recipe.as_dict(), "dataset": "cifar10"})
    run.train()


class Reaper:
    """Counts a process's operations on the files of a directory, and kills it before one of them."""

    def __init__(self, directory: Path, die_at: int) -> None:
        self._directory, self._left = str(directory), die_at

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not OPERATIONS.fullmatch(event):
            return
        if event == "fcntl.flock" or str(arguments[0]).startswith(self._directory):
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 40 training and 20 test pictures, of noise."""
    path = tmp_path_factory.mktemp("pictures") / "pictures.pt"
    generator = torch.Generator().manual_seed(1)

    def draw(count: int) -> list[torch.Tensor]:
        images = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return [images, torch.randint(10, (count,), generator=generator)]

    torch.save({"train": draw(40), "test": draw(20)}, path)
    return path


class Life:
    """A process that trains in a directory, and what can be seen of it from outside."""

    def __init__(self, run_dir: Path, pictures: Path, steps: int = FAR, *, die_at: int = -1, every: int = 2) -> None:
        self._run_dir = run_dir
        self._before = self._files()
        self.process: ForkServerProcess = fork(live, run_dir, pictures, steps, die_at, every)

    def wait_for(self, name: str) -> None:
        """Until there is a new file with such a name; at most a while, for it may be there for a moment only."""
        self._wait(lambda: any(re.fullmatch(name, new) for new in self._files() - self._before))

    def wait_for_one_too_many(self) -> None:
        """Until a new checkpoint is there and the oldest not yet deleted."""
        self.wait_for(r"checkpoint-\d+-\w+\.pt")
        self._wait(lambda: len(CheckpointDirectory(self._run_dir / "checkpoints").all()) > 5)

    def kill(self) -> set[str]:
        """SIGKILL; returns what was killed in the middle of being written."""
        self.process.kill()
        return self.died()

    def died(self) -> set[str]:
        """Waits for its end by SIGKILL; returns what was killed in the middle of being written."""
        self.process.join(SECONDS)
        assert self.process.exitcode == -signal.SIGKILL
        parts = {new for new in self._files() - self._before if new.endswith(".part")}
        return {re.sub(r"^\.(\w+).*", r"\1", part) for part in parts}

    def _wait(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while self.process.is_alive() and not reached() and time.monotonic() < deadline:
            time.sleep(0.0005)

    def _files(self) -> set[str]:
        return {name for _, _, names in os.walk(self._run_dir) for name in names}


def check_sound(run_dir: Path, at_least: int) -> int:
    """Every checkpoint loads, and none was lost; returns the newest one's step, 0 where there is none.

    Every line of metrics.jsonl is whole.
    """
    if (run_dir / NAME).exists():
        assert all(json.loads(line)["kind"] for line in (run_dir / NAME).read_text().splitlines())
    checkpoints = CheckpointDirectory(run_dir / "checkpoints").all()
    for checkpoint in checkpoints:
        assert checkpoint.load()["step"] == checkpoint.step
    newest = checkpoints[-1].step if checkpoints else 0
    assert newest >= at_least
    assert [checkpoint.step for checkpoint in checkpoints][-5:] == list(range(2, newest + 1, 2))[-5:]
    return newest


def losses(run_dir: Path) -> list[tuple[int, dict[str, float]]]:
    return [(record["step"], record["losses"]) for record in MetricsLog(run_dir).read() if record["kind"] == "train"]


def finish(run_dir: Path, pictures: Path, steps: int, every: int) -> None:
    life = Life(run_dir, pictures, steps, every=every)
    life.process.join(SECONDS)
    assert life.process.exitcode == 0


def test_killed_at_any_moment(pictures: Path, tmp_path: Path) -> None:
    run_dir, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    moments, newest, struck = random.Random(1), 0, Counter[str]()

    def kill_before(operation: int) -> set[str]:
        return Life(run_dir, pictures, die_at=operation).died()

    def kill_when(wait: Callable[[Life], object]) -> set[str]:
        life = Life(run_dir, pictures)
        wait(life)
        return life.kill()

    # From the making of the directory to the deletion of the checkpoint that is one too many.
    kills = [partial(kill_before, operation) for operation in range(60)]
    waits: list[Callable[[Life], object]] = [
        lambda life: life.process.join(moments.uniform(0, 0.3)),  # at start-up, mostly
        lambda life: life.wait_for(r"\.recipe\.json.*|events.*"),
        lambda life: life.wait_for(r"events.*"),
        lambda life: life.wait_for(r"\.checkpoint.*"),
        lambda life: life.wait_for(r"\.checkpoint.*"),
        lambda life: life.wait_for_one_too_many(),
        lambda life: life.wait_for(r"\.eval\.json.*"),
        lambda life: life.process.join(moments.uniform(0.2, 0.6)),
    ]
    kills += [partial(kill_when, wait) for wait in 2 * waits]
    for kill in kills:
        struck.update(kill())
        newest = check_sound(run_dir, newest)
        struck["deletion"] += len(CheckpointDirectory(run_dir / "checkpoints").all()) > 5

    assert len(kills) >= 75
    assert struck["checkpoint"] >= 4, struck
    assert min(struck["recipe"], struck["metrics"], struck["eval"], struck["deletion"]) >= 1, struck

    finish(run_dir, pictures, newest + 3, every=2)
    finish(undisturbed, pictures, newest + 3, every=1_000)
    assert_same(final_state(run_dir), final_state(undisturbed))
    assert not list((run_dir / "checkpoints").glob(".*"))
    shown, expected = scalars(run_dir), scalars(undisturbed)
    assert len(expected) == 16
    for tag in expected.keys() - {"examples_per_sec", "global_step/sec"}:
        assert shown[tag] == expected[tag], tag
    assert losses(run_dir) == losses(undisturbed)
