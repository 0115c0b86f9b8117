"""A disk that is full, or not to be written to: one sentence, nothing damaged, and on with it once there is room."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.processes import Finished, RunCommand
from tests.training.runs import TRAINED_STEPS, assert_same, final_state, scalars, snapshot, train_command
from training.checkpoint import CheckpointDirectory
from training.errors import UserError
from training.interval import Interval
from training.summaries import TrainingSummaries

PAGE = 4096  # bytes; a disk in memory hands itself out by the page
TWO_CHECKPOINTS = 24 << 20  # bytes; a third doesn't fit


class Disk:
    """A file system of its own, in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self) -> None:
        finished = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={TWO_CHECKPOINTS}", "disk", self.path], capture_output=True, text=True
        )
        if finished.returncode:
            pytest.skip(f"needs to mount a disk: {finished.stderr.strip()}")

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def fill(self, left: int) -> None:
        """Leaves so many bytes free."""
        free = os.statvfs(self.path)
        with (self.path / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - left)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    disk = Disk(path)
    disk.mount()
    yield disk
    disk.unmount()


def test_full_at_a_checkpoint(run: RunCommand, trained: tuple[Path, Finished], disk: Disk, cifar10_dir: Path) -> None:
    run_dir = disk.path / "run"
    command = train_command(run_dir, cifar10_dir, TRAINED_STEPS, "--checkpoint-every", TRAINED_STEPS // 3)
    sentence = run(*command).refusal()
    assert re.search(r"checkpoint-00000300-\w+\.pt could not be written \(No space left on device\); make", sentence)
    before = CheckpointDirectory(run_dir / "checkpoints").all()
    assert [checkpoint.load()["step"] for checkpoint in before] == [100, 200]
    assert len(list((run_dir / "checkpoints").iterdir())) == 2

    disk.remount("size=80m")
    finished = run(*command, "--resume")
    assert finished.status == 0, finished.errors
    assert "from step 200," in finished.output
    assert_same(final_state(run_dir), final_state(trained[0]))


@pytest.mark.parametrize(
    ("pages", "file"),
    [
        (0, r"recipe\.json"),
        (1, r"run/events.*"),
        (2, r"metrics\.jsonl"),
        (3, r"eval/events.*"),
        (4, r"checkpoints/checkpoint-00000003-.*"),
    ],
)
def test_full_from_the_start(run: RunCommand, disk: Disk, cifar10_dir: Path, pages: int, file: str) -> None:
    run_dir = disk.path / "run"
    disk.fill(left=pages * PAGE)
    command = [*train_command(run_dir, cifar10_dir, 3), "--resume", "--summaries", "scalars"]
    sentence = run(*command).refusal()
    assert re.search(rf"{file} could not be written \(No space left on device\); make room", sentence), sentence
    assert not list(run_dir.rglob("*.part"))

    (disk.path / "ballast").unlink()
    assert run(*command).status == 0
    assert final_state(run_dir)["step"] == 3


def _interval(step: int) -> Interval:
    return Interval(step, {"total_loss": 1.0}, {"total_loss": 2.0}, 0.1, 3.0, 4.0)


def test_full_between_two_summaries(disk: Disk, capfd: pytest.CaptureFixture[str]) -> None:
    summaries = TrainingSummaries(disk.path, 0)
    disk.fill(left=0)
    full = r"events.out.* could not be written \(No space left on device\); make room"
    steps = iter(range(50))
    with pytest.raises(UserError, match=full):  # noqa: PT012 - which of the writes it is depends on the records' size
        for step in steps:
            summaries.write(_interval(step), None)
    with pytest.raises(UserError, match=full):
        summaries.close()
    assert capfd.readouterr() == ("", "")

    (disk.path / "ballast").unlink()
    resumed = TrainingSummaries(disk.path, step)
    for again in (step, *steps):
        resumed.write(_interval(again), None)
    resumed.close()
    assert scalars(disk.path)["total_loss"] == [(step, 2.0) for step in range(50)]


@pytest.mark.parametrize(
    ("name", "command"), [("run", "train --resume"), ("run", "train --overwrite"), ("new", "train"), ("run", "eval")]
)
def test_not_to_be_written_to(
    run: RunCommand, trained: tuple[Path, Finished], disk: Disk, cifar10_dir: Path, name: str, command: str
) -> None:
    shutil.copytree(trained[0], disk.path / "run")
    disk.remount("ro")
    before = snapshot(disk.path)
    run_dir = disk.path / name
    sentence = run(*command.split(), "--run-dir", run_dir, "--data-dir", cifar10_dir).refusal()
    assert re.search(rf"{run_dir}\S* cannot be written to \(Read-only file system\)", sentence), sentence
    assert snapshot(disk.path) == before
