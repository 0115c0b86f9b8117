"""SIGTERM and Ctrl-C: a checkpoint of that very step, out within seconds, with the command that goes on."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.processes import REPOSITORY, SECONDS, Command, Finished, RunCommand, StartCommand
from tests.training.runs import ENDLESS, assert_same, final_state, logged_losses, train_command
from training.stopping import StopRequest

MORE_STEPS = 20  # after which a training that was stopped and goes on is at its end


def stop(command: Command, number: signal.Signals) -> Finished:
    command.wait_for_output("step 20, loss")
    command.send(number)
    finished = command.finish()
    assert finished.status == 128 + number, finished.output + finished.errors
    return finished


def check_saved(run_dir: Path, finished: Finished, number: signal.Signals) -> tuple[int, str]:
    """The step of the checkpoint is that of the sentence; returns it, and the command that resumes."""
    (line,) = finished.errors.splitlines()
    match = re.fullmatch(rf"Stopped by {number.name} after (\d+) steps, saved as (.+)\. To go on: (.*)", line)
    assert match, line
    step = int(match[1])
    assert final_state(run_dir)["step"] == step
    assert Path(match[2]) in (run_dir / "checkpoints").iterdir()
    assert max(logged_losses(finished.output)) == (step - 1) // 10 * 10
    assert step > 20
    return step, match[3]


def check_same_as_undisturbed(run: RunCommand, run_dir: Path, data_dir: Path, steps: int, *outputs: str) -> None:
    """A run that took several processes, whose outputs these are, has come to what one comes to."""
    straight = run_dir.parent / "straight"
    finished = run(*train_command(straight, data_dir, steps))
    assert finished.status == 0, finished.errors
    assert_same(final_state(run_dir), final_state(straight))
    losses: dict[int, str] = {}
    for output in outputs:
        losses |= logged_losses(output)
    assert losses == logged_losses(finished.output)


def test_ctrl_c(start: StartCommand, run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    run_dir = tmp_path / "a run"
    first = stop(start(*train_command(run_dir, cifar10_dir, ENDLESS)), signal.SIGINT)
    step, resume = check_saved(run_dir, first, signal.SIGINT)
    arguments = shlex.split(resume)
    assert arguments[:3] == ["python", "-m", "training"]
    second = run(*arguments[3:], "--steps", step + MORE_STEPS)
    assert second.status == 0, second.errors
    check_same_as_undisturbed(run, run_dir, cifar10_dir, step + MORE_STEPS, first.output, second.output)


def test_sigterm_while_watched(start: StartCommand, run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    run_dir = tmp_path / "run"
    command = train_command(run_dir, cifar10_dir, ENDLESS, "--checkpoint-every", 0)
    training = start(*command, interpreter=True)
    training.wait_for_output("step 0, loss")
    watching = start("eval", "--run-dir", run_dir, "--data-dir", cifar10_dir, "--watch", "--interval", 0.05)
    first = stop(training, signal.SIGTERM)
    step, resume = check_saved(run_dir, first, signal.SIGTERM)
    watching.wait_for_output(f"step {step}: precision @ 1 = ")

    steps = step + MORE_STEPS
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    second = subprocess.run(
        f"{resume} --steps {steps}",
        shell=True,
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert second.returncode == 0, second.stderr
    assert f"from step {step}," in second.stdout
    check_same_as_undisturbed(run, run_dir, cifar10_dir, steps, first.output, second.stdout)

    watched = watching.finish()
    assert watched.status == 0, watched.errors
    assert [int(found) for found in re.findall(r"step (\d+): precision", watched.output)] == [step, steps]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_is_noted_and_a_second_one_is_not_held_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopRequest() as request:
        assert request.signal is None
        os.kill(os.getpid(), number)
        assert request.signal == number
        assert signal.getsignal(number) is before
    assert signal.getsignal(number) is before
