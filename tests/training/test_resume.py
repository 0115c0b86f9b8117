"""Going on with a run as though nothing had happened, whatever it was that happened."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.processes import Command, Finished, RunCommand, StartCommand
from tests.training.runs import (
    TRAINED_STEPS,
    assert_same,
    final_state,
    logged_losses,
    scalars,
    small_recipe,
    snapshot,
    start_run,
    train_command,
)
from training.checkpoint import CheckpointDirectory
from training.dataset import Dataset
from training.errors import UserError
from training.recipe import Recipe
from training.recipe_parts import Linear

Trained = tuple[Path, Finished]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_to_the_bit_as_an_uninterrupted_run(
    few_pictures: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    # The first epoch of 200 pictures ends in the middle of the last update before the first interruption.
    recipe = small_recipe(44, batch_size=12)
    start_run(tmp_path / "straight", few_pictures, recipe, precision).train()
    straight = logged_losses(capsys.readouterr().out)
    for steps in (17, 30, 44):
        start_run(tmp_path / "resumed", few_pictures, replace(recipe, steps=steps), precision).train()
    resumed = logged_losses(capsys.readouterr().out)

    assert list(straight) == [0, 10, 20, 30, 40]
    assert resumed == straight
    assert_same(final_state(tmp_path / "resumed"), final_state(tmp_path / "straight"))


def test_killed_at_any_moment_and_resumed(
    trained: Trained, start: StartCommand, run: RunCommand, tmp_path: Path, cifar10_dir: Path
) -> None:
    run_dir = tmp_path / "run"

    def wait_for_file(command: Command, pattern: str) -> None:
        command.wait_for(lambda: list((run_dir / "checkpoints").glob(pattern)))

    moments: list[tuple[int, Callable[[Command], None]]] = [
        (20, lambda command: command.wait_for_output("step 0, loss")),
        (20, lambda command: wait_for_file(command, "*checkpoint-00000020-*")),  # while it is written
        (20, lambda command: wait_for_file(command, "checkpoint-00000020-*.pt")),  # while it is evaluated
        (TRAINED_STEPS, lambda command: command.wait_for_output("step 130, loss")),
        (TRAINED_STEPS, lambda command: wait_for_file(command, f"*checkpoint-{TRAINED_STEPS:08d}-*")),
    ]
    for steps, wait in moments:
        command = start(*train_command(run_dir, cifar10_dir, steps, "--resume"))
        wait(command)
        command.kill()
        for checkpoint in CheckpointDirectory(run_dir / "checkpoints").all():
            assert checkpoint.load()["step"] == checkpoint.step

    finished = run(*train_command(run_dir, cifar10_dir, TRAINED_STEPS, "--resume"))
    assert finished.status == 0, finished.errors
    assert_same(final_state(run_dir), final_state(trained[0]))
    losses = logged_losses(trained[1].output)
    assert logged_losses(finished.output).items() <= losses.items()
    shown, expected = scalars(run_dir), scalars(trained[0])
    for tag in expected.keys() - {"examples_per_sec", "global_step/sec"}:
        assert shown[tag] == expected[tag], tag


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(trained[0], tmp_path / "copied"))


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        (["--batch-size", 16], "another recipe (batch_size)"),
        (["--learning-rate", 0.2], "another recipe (learning_rate)"),
        (["--seed", 4], "another seed"),
        (["--data", "synthetic", "--seed", 4], "another seed and other training pictures"),
    ],
)
def test_another_run_is_not_resumed(
    run: RunCommand, copied: Path, cifar10_dir: Path, changes: list[object], differing: str
) -> None:
    before = snapshot(copied)
    command = ["train", "--run-dir", copied, "--data-dir", cifar10_dir, "--resume", "--steps", 400, *changes]
    sentence = run(*command).refusal()
    assert f"{copied} was trained with {differing};" in sentence
    assert "choose another --run-dir" in sentence
    assert snapshot(copied) == before


def test_a_run_whose_rates_end_with_it_is_not_made_longer(few_pictures: Dataset, tmp_path: Path) -> None:
    linear = replace(small_recipe(4), groups=tuple(replace(group, schedule=Linear()) for group in Recipe().groups))
    start_run(tmp_path, few_pictures, linear).train()
    with pytest.raises(
        UserError, match=r"was trained with another recipe \(steps\); resume it with the same, delete .* to"
    ):
        start_run(tmp_path, few_pictures, replace(linear, steps=8))
    assert start_run(tmp_path, few_pictures, linear).step.updates_done == 4


def test_what_is_not_given_is_the_run_s_own(run: RunCommand, copied: Path, cifar10_dir: Path) -> None:
    command = ["train", "--run-dir", copied, "--data-dir", cifar10_dir, "--resume", "--steps", TRAINED_STEPS + 1]
    finished = run(*command)
    assert finished.status == 0, finished.errors
    assert f"for {TRAINED_STEPS + 1} steps, from step {TRAINED_STEPS}, in fp32 on" in finished.output
    assert final_state(copied)["step"] == TRAINED_STEPS + 1
    assert list(logged_losses(finished.output)) == [TRAINED_STEPS]


def test_a_finished_run_needs_no_more(run: RunCommand, copied: Path, cifar10_dir: Path) -> None:
    before = snapshot(copied / "checkpoints")
    finished = run("train", "--run-dir", copied, "--data-dir", cifar10_dir, "--resume")
    assert finished.status == 0, finished.errors
    assert logged_losses(finished.output) == {}
    assert snapshot(copied / "checkpoints") == before


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    few_pictures: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for steps in (10, 20, 30):
        start_run(tmp_path, few_pictures, small_recipe(steps)).train()
    expected = final_state(tmp_path)
    newest = CheckpointDirectory(tmp_path / "checkpoints").all()[-1].path
    newest.write_bytes(newest.read_bytes()[:-1])
    capsys.readouterr()

    run = start_run(tmp_path, few_pictures, small_recipe(30))
    assert capsys.readouterr().out.startswith(f"{newest} is damaged")
    assert run.step.updates_done == 20
    run.train()
    assert_same(final_state(tmp_path), expected)


def test_resuming_where_nothing_has_been_trained_starts_at_the_beginning(few_pictures: Dataset, tmp_path: Path) -> None:
    run = start_run(tmp_path / "none", few_pictures, small_recipe(2))
    assert run.step.updates_done == 0
