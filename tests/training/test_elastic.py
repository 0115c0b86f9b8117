"""Ranks and machines that die, and other numbers of them that go on: the same run, whatever happens."""

import re
import shutil
import socket
from pathlib import Path

import pytest

from benchmarks.serving_process import free_port
from tests.training.processes import Finished
from tests.training.ranks import RANKS_STEPS, SAVING, TORCHRUN, Launcher, StartLauncher, run_ranks
from tests.training.runs import (
    ENDLESS,
    LOG_LINE,
    check_same_weights,
    checkpoint_names,
    final_state,
    logged_losses,
    snapshot,
    train_command,
)
from training.checkpoint import CheckpointDirectory

Trained = tuple[Path, Finished]


def test_killed_ranks_are_started_again_by_torchrun(launch: StartLauncher, tmp_path: Path, cifar10_dir: Path) -> None:
    command = train_command(tmp_path / "run", cifar10_dir, ENDLESS, *SAVING)
    launcher = launch(*TORCHRUN, "--max-restarts=3", "-m", "training", *command)
    for starts, rank, step in [(2, 1, 30), (3, 0, 60)]:
        launcher.wait_for_output(f"step {step}, loss")
        reached = max(logged_losses(launcher.output))
        launcher.kill_rank(rank)
        launcher.wait_for_output(rf"(?s)(from step.*){{{starts}}}")
        assert int(re.findall(r"from step (\d+)", launcher.output)[-1]) >= reached - reached % 20
    launcher.wait_for_output(r"(?s)(from step.*){3}step \d+, loss")
    killed = launcher.kill()
    assert killed.output.count("from step") == 3, "torchrun has needed more starts than there were kills"
    check_goes_on_undisturbed(tmp_path, cifar10_dir, killed.output)


def check_goes_on_undisturbed(folder: Path, data_dir: Path, *outputs: str) -> None:
    """Two ranks go on with the run, of which killed ones left these outputs, as though nothing had happened."""
    run_dir, straight = folder / "run", folder / "straight"
    steps = final_state(run_dir)["step"] + 20
    undisturbed, _ = run_ranks(2, train_command(straight, data_dir, steps, *SAVING), folder / "undisturbed")
    resumed, _ = run_ranks(2, train_command(run_dir, data_dir, steps, *SAVING, "--resume"), folder / "resumed")
    assert (undisturbed.status, resumed.status) == (0, 0), undisturbed.errors + resumed.errors
    # More than one loss of a step would be two pairs.
    losses = {match.groups()[:2] for output in (*outputs, resumed.output) for match in LOG_LINE.finditer(output)}
    assert losses == {match.groups()[:2] for match in LOG_LINE.finditer(undisturbed.output)}
    assert checkpoint_names(run_dir)[-1] == checkpoint_names(straight)[-1]


def test_a_restart_does_not_go_on_with_another_launch_s_run(
    launch: StartLauncher, by_torchrun: Trained, tmp_path: Path, cifar10_dir: Path
) -> None:
    run_dir = stopped_at(60, by_torchrun[0], tmp_path)
    before = snapshot(run_dir)
    command = train_command(run_dir, cifar10_dir, RANKS_STEPS, *SAVING)
    finished = launch(*TORCHRUN, "--max-restarts=1", "-m", "training", *command).finish()
    assert finished.status == 1
    assert finished.errors.count(f"{run_dir} exists already; add --resume") == 2
    assert snapshot(run_dir) == before


def test_a_machine_that_dies_and_comes_back(launch: StartLauncher, tmp_path: Path, cifar10_dir: Path) -> None:
    endpoint = ("127.0.0.1", free_port())

    def start_machine() -> Launcher:
        rendezvous = ["--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-backend=c10d", "--rdzv-id=one"]
        patience = ["--rdzv-conf=keep_alive_interval=1,keep_alive_max_attempt=6"]
        command = train_command(tmp_path / "run", cifar10_dir, ENDLESS, *SAVING)
        return launch(
            *["torch.distributed.run", *rendezvous, f"--rdzv-endpoint={endpoint[0]}:{endpoint[1]}", *patience],
            *["-m", "training", *command],
            # Agents that share their store with the ranks never tell a newcomer where it is.
            environment={"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        )

    first = start_machine()
    first.wait_for(lambda: is_listening(endpoint))  # the rendezvous is on this one
    second = start_machine()
    first.wait_for(lambda: "step 30, loss" in first.output + second.output)
    before = second.kill().output
    until_then = len(first.output)
    third = start_machine()
    first.wait_for(lambda: re.search(r"(?s)from step.*step \d+, loss", first.output[until_then:] + third.output))
    outputs = before, third.kill().output, first.kill().output
    check_goes_on_undisturbed(tmp_path, cifar10_dir, *outputs)


def is_listening(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_ranks_goes_on_with_the_same_pictures(
    by_torchrun: Trained, alone: Trained, tmp_path: Path, cifar10_dir: Path, before: int, after: int
) -> None:
    straight, printed = by_torchrun if before == 2 else alone
    run_dir = stopped_at(60, straight, tmp_path)
    where = ["train", "--data-dir", cifar10_dir, "--run-dir", run_dir]
    finished = run_ranks(after, [*where, "--steps", RANKS_STEPS, "--resume"], tmp_path)
    assert {rank.status for rank in finished} == {0}, finished
    assert "from step 60," in finished[0].output
    losses = logged_losses(finished[0].output)
    assert list(losses) == [60, 70, 80, 90]
    assert losses.items() <= logged_losses(printed.output).items()
    check_same_weights(run_dir, straight, RANKS_STEPS)


def test_another_batch_is_another_run(by_torchrun: Trained, tmp_path: Path, cifar10_dir: Path) -> None:
    run_dir = stopped_at(60, by_torchrun[0], tmp_path)
    where = ["train", "--data-dir", cifar10_dir, "--run-dir", run_dir]
    before = snapshot(run_dir)
    told, silent = run_ranks(2, [*where, "--steps", RANKS_STEPS, "--resume", "--batch-size", 16], tmp_path)
    assert f"{run_dir} was trained with another recipe (batch_size);" in told.refusal()
    assert (silent.status, silent.output, silent.errors) == (2, "", "")
    assert snapshot(run_dir) == before


def stopped_at(step: int, run_dir: Path, folder: Path) -> Path:
    """A copy of a run as it was after `step` updates."""
    copied = Path(shutil.copytree(run_dir, folder / "stopped"))
    for checkpoint in CheckpointDirectory(copied / "checkpoints").all():
        if checkpoint.step > step:
            checkpoint.path.unlink()
    return copied
