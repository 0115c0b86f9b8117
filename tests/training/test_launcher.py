"""Several ranks as a user meets them: `--gpus`, Ctrl-C, and errors that are told once."""

import re
import shlex
import signal
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tests.training.processes import Finished, RunCommand, StartCommand
from tests.training.ranks import SAVING, Launcher, StartLauncher, run_ranks
from tests.training.runs import ENDLESS, checkpoint_names, final_state, logged_losses, snapshot, train_command

Trained = tuple[Path, Finished]


def test_signals_stop_all_ranks_after_the_same_update(launch: StartLauncher, tmp_path: Path, cifar10_dir: Path) -> None:
    run_dir, straight = tmp_path / "a run", tmp_path / "straight"
    ranks = ["--gpus", 2, "--device", "cpu"]
    launcher = launch("training", *train_command(run_dir, cifar10_dir, ENDLESS, *SAVING, *ranks))
    launcher.wait_for_output("step 20, loss")
    launcher.press_ctrl_c()
    output, resume = check_stopped(launcher, run_dir, signal.SIGINT)

    launcher = launch(*resume)
    launcher.wait_for_output(r"step \d+, loss")
    launcher.send(signal.SIGTERM)
    more, resume = check_stopped(launcher, run_dir, signal.SIGTERM)

    steps = final_state(run_dir)["step"] + 20
    finished = launch(*resume, "--steps", steps).finish()
    assert (finished.status, finished.errors) == (0, "")
    undisturbed, _ = run_ranks(2, train_command(straight, cifar10_dir, steps, *SAVING, *ranks), tmp_path)
    assert logged_losses(output + more + finished.output) == logged_losses(undisturbed.output)
    assert checkpoint_names(run_dir)[-1] == checkpoint_names(straight)[-1]


def check_stopped(launcher: Launcher, run_dir: Path, number: signal.Signals) -> tuple[str, list[str]]:
    """One sentence names the newest checkpoint; returns the output, and the arguments that go on."""
    finished = launcher.finish()
    assert finished.status == 128 + number, finished.output + finished.errors
    (line,) = finished.errors.splitlines()
    match = re.fullmatch(rf"Stopped by {number.name} after (\d+) steps, saved as (.+)\. To go on: (.*)", line)
    assert match, line
    assert int(match[1]) == final_state(run_dir)["step"]
    assert Path(match[2]).name == checkpoint_names(run_dir)[-1]
    words = shlex.split(match[3])
    assert words[:3] == ["python", "-m", "training"]
    assert ("--gpus", "2") in pairwise(words)
    assert words[-1] == "--resume"
    return finished.output, words[2:]


def test_a_killed_rank_is_told_in_a_sentence(launch: StartLauncher, tmp_path: Path, cifar10_dir: Path) -> None:
    launcher = launch("training", *train_command(tmp_path, cifar10_dir, 10_000, "--gpus", 2, "--device", "cpu"))
    launcher.wait_for_output("step 10, loss")
    launcher.kill_rank(1)
    finished = launcher.finish()
    assert finished.status == 128 + signal.SIGKILL
    (line,) = finished.errors.splitlines()
    assert line.startswith("Rank 0 has lost the connection to another rank;")
    assert "--resume" in line


@pytest.mark.skipif(torch.cuda.device_count() > 1, reason="there are two GPUs")
def test_more_gpus_than_there_are(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    refusal = run(*train_command(tmp_path / "run", cifar10_dir, 5, "--gpus", 2)).refusal()
    assert f"--gpus 2 needs as many NVIDIA GPUs and PyTorch sees {torch.cuda.device_count()};" in refusal
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_once(start: StartCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    command = train_command(tmp_path / "run", cifar10_dir, 40, *SAVING, "--gpus", 2, "--device", "cpu")
    sentence = start(*command, file_bytes=1_000_000).finish().refusal()
    assert re.search(r"checkpoint-00000020-\w+\.pt could not be written \(File too large\)", sentence)
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_too_few_pictures_for_the_ranks_are_told_once(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    where = ["train", "--data-dir", cifar10_dir, "--run-dir", tmp_path / "run"]
    sentence = run(*where, "--gpus", 2, "--device", "cpu", "--global-batch", 1).refusal()
    assert "A batch of 1 is too small for 2 processes; give --global-batch at least 2" in sentence


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_data_that_are_not_as_they_should_be_are_told_once(tmp_path: Path, cifar10_dir: Path, damage: str) -> None:
    data = tmp_path / "data" / "cifar-10-batches-bin"
    data.mkdir(parents=True)
    if damage == "short":
        for path in (cifar10_dir / data.name).glob("*.bin"):
            (data / path.name).symlink_to(path.resolve())
        (data / "data_batch_3.bin").unlink()
        (data / "data_batch_3.bin").write_bytes(bytes(3073))
    told, silent = run_ranks(2, train_command(tmp_path / "run", data.parent, 5), tmp_path)
    assert ("data_batch_1.bin is missing" if damage == "missing" else "data_batch_3.bin") in told.refusal()
    assert (silent.status, silent.output, silent.errors) == (2, "", "")


def test_a_directory_in_use_is_told_once(by_torchrun: Trained, tmp_path: Path, cifar10_dir: Path) -> None:
    run_dir, _ = by_torchrun
    before = snapshot(run_dir)
    told, silent = run_ranks(2, train_command(run_dir, cifar10_dir, 5), tmp_path)
    assert f"{run_dir} exists already;" in told.refusal()
    assert (silent.status, silent.output, silent.errors) == (2, "", "")
    assert snapshot(run_dir) == before
