"""Run directories that are not as they should be, and a machine without memory: one sentence, nothing changed."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from tests.training.processes import Finished, RunCommand, StartCommand
from tests.training.runs import TRAINED_STEPS, final_state, snapshot, train_command
from training.checkpoint import CheckpointDirectory
from training.device import memory_to_evaluate, telling_of_memory
from training.errors import UserError
from training.run_directory import RunDirectory

CPU = torch.device("cpu")

Trained = tuple[Path, Finished]


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(trained[0], tmp_path / "copied"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "recipe.json is damaged (Expecting property name"),
        ("[1, 2]", "recipe.json is damaged (it is no JSON object)"),
        ('{"recipe": {}}', "recipe.json is damaged (it has no dataset and no precision and no seed)"),
        (
            '{"recipe": {"name": "x"}, "seed": 0, "dataset": "cifar10", "precision": "fp32"}',
            "copied/recipe.json was written by another version of this program",
        ),
    ],
    ids=["cut off", "a list", "entries missing", "an unknown recipe"],
)
def test_a_damaged_description(run: RunCommand, copied: Path, cifar10_dir: Path, content: str, reason: str) -> None:
    (copied / "recipe.json").write_text(content)
    before = snapshot(copied)
    sentence = run("train", "--run-dir", copied, "--data-dir", cifar10_dir, "--resume").refusal()
    assert reason in sentence
    assert f"delete {copied} to train anew, or choose another --run-dir" in sentence
    assert snapshot(copied) == before


def test_a_description_that_cannot_be_read(run: RunCommand, copied: Path, cifar10_dir: Path) -> None:
    (copied / "recipe.json").unlink()
    (copied / "recipe.json").mkdir()
    for command in ("train", "eval", "export"):
        more = ["--resume"] if command == "train" else []
        sentence = run(command, "--run-dir", copied, "--data-dir", cifar10_dir, *more).refusal()
        assert f"{copied / 'recipe.json'} cannot be read (Is a directory)" in sentence


@pytest.mark.parametrize(
    "command",
    [["train", "--resume", "--steps", TRAINED_STEPS + 10], ["eval"], ["export"]],
    ids=lambda it: it[0],
)
def test_a_checkpoint_of_another_version(
    run: RunCommand, copied: Path, cifar10_dir: Path, command: list[str | int]
) -> None:
    state = final_state(copied)
    CheckpointDirectory(copied / "checkpoints").save(state["step"] + 1, state | {"format": 1})
    refused = run(*command, "--run-dir", copied, "--data-dir", cifar10_dir)
    assert "was written by another version of this program" in refused.refusal()


def test_pictures_that_were_not_trained_on(run: RunCommand, copied: Path, cifar10_dir: Path) -> None:
    description = json.loads((copied / "recipe.json").read_bytes())
    (copied / "recipe.json").write_text(json.dumps(description | {"training_data_sha256": "0" * 64}))
    measured = run("eval", "--run-dir", copied, "--data-dir", cifar10_dir)
    assert measured.status == 0, measured.errors
    assert "Warning: these are not the training pictures that the run was trained on;" in measured.output


@pytest.mark.parametrize("exists", [True, False])
def test_a_refused_training_leaves_no_directory_of_its_own(run: RunCommand, tmp_path: Path, exists: bool) -> None:
    run_dir = tmp_path / "run"
    (tmp_path / "cifar-10-batches-bin").mkdir()
    if exists:
        run_dir.mkdir()
    assert "data_batch_1.bin is missing" in run(*train_command(run_dir, tmp_path, 5)).refusal()
    assert run_dir.exists() == exists
    assert snapshot(run_dir).keys() <= {".lock"}


def test_what_a_killed_process_left_half_written_is_cleared_away(
    run: RunCommand, copied: Path, cifar10_dir: Path
) -> None:
    part = copied / ".recipe.json.0123456789abcdef.part"
    part.write_text("{")
    finished = run("train", "--run-dir", copied, "--data-dir", cifar10_dir, "--resume")
    assert finished.status == 0, finished.errors
    assert not part.exists()


def test_watching_passes_over_a_newest_checkpoint_that_is_damaged(
    start: StartCommand, copied: Path, cifar10_dir: Path
) -> None:
    description = json.loads((copied / "recipe.json").read_bytes())
    newest = sorted((copied / "checkpoints").iterdir())[-1]
    state = torch.load(newest) | {"step": 10}
    state["recipe"]["steps"] = description["recipe"]["steps"] + 1  # there is more to come
    newest.write_bytes(b"damaged")
    CheckpointDirectory(copied / "checkpoints").save(10, state)
    watching = start("eval", "--run-dir", copied, "--data-dir", cifar10_dir, "--watch", "--interval", 0.05)
    watching.wait_for(lambda: watching.output.count("The checkpoint before it is used") >= 3)
    watching.kill()
    assert len(re.findall("precision @ 1", watching.output)) == 1


def test_too_little_memory() -> None:
    sentence = (
        "The machine has not enough free memory for a batch of 8; choose a smaller one, or end what else uses it."
    )
    with (
        pytest.raises(UserError, match=re.escape(sentence)),
        telling_of_memory("for a batch of 8", "choose a smaller one"),
    ):
        torch.empty(2**50, dtype=torch.uint8)
    with pytest.raises(UserError, match="to evaluate the network; end what else uses it"), memory_to_evaluate(CPU):
        torch.empty(2**50, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="must match the size"), telling_of_memory("for this"):
        torch.ones(2) + torch.ones(3)


def test_a_place_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some network file systems are."""

    def flock(_descriptor: int, _flags: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(
        UserError, match=r"run cannot be locked \(.+\); choose another --run-dir, on a file system that can"
    ):
        RunDirectory(tmp_path / "run").open_for_training(resume=False, overwrite=False)


def test_a_name_that_no_directory_can_have(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    name = "x" * 300
    sentence = run(*train_command(tmp_path / name, cifar10_dir, 5)).refusal()
    assert f"{name} cannot be read (File name too long); choose another --run-dir." in sentence
