"""Checkpoint files: whole or absent, believed only when sound, the newest few kept."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.processes import SECONDS, fork
from tests.training.runs import assert_same
from training.checkpoint import CheckpointDirectory
from training.errors import UserError


def state_of(step: int) -> dict[str, Any]:
    return {"step": step, "weights": {"a": torch.full((500_000,), float(step))}, "recipe": {"name": "x", "k": [1, 2]}}


@pytest.fixture
def three(tmp_path: Path) -> CheckpointDirectory:
    """Steps 1, 2 and 3."""
    checkpoints = CheckpointDirectory(tmp_path / "checkpoints")
    for step in (1, 2, 3):
        checkpoints.save(step, state_of(step))
    return checkpoints


def test_newest_is_loaded_as_it_was_saved(three: CheckpointDirectory) -> None:
    newest = three.load_newest()
    assert newest is not None
    assert newest[0].step == 3
    assert_same(newest[1], state_of(3))


def test_steps_are_in_the_order_of_numbers_not_of_names(tmp_path: Path) -> None:
    checkpoints = CheckpointDirectory(tmp_path)
    for step in (99_999_999, 100_000_000, 5):
        checkpoints.save(step, {"step": step})
    assert [checkpoint.step for checkpoint in checkpoints.all()] == [5, 99_999_999, 100_000_000]


def test_the_newest_five_are_kept(tmp_path: Path) -> None:
    checkpoints = CheckpointDirectory(tmp_path)
    for step in range(8):
        checkpoints.save(step, {"step": step})
    assert [checkpoint.load()["step"] for checkpoint in checkpoints.all()] == [3, 4, 5, 6, 7]
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("exists", [True, False])
def test_none_at_all(tmp_path: Path, exists: bool) -> None:
    directory = tmp_path / "checkpoints"
    if exists:
        directory.mkdir()
        (directory / "notes.txt").write_text("mine")
        (directory / "checkpoint-00000009-0123456789abcdef.pt.bak").touch()
    assert CheckpointDirectory(directory).load_newest() is None


def flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[: len(content) // 2], flip_a_bit, lambda _: b"", lambda content: content + b"\0"],
    ids=["truncated", "bit flipped", "empty", "longer"],
)
def test_a_damaged_one_is_named_and_the_one_before_it_used(
    three: CheckpointDirectory, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    newest = three.all()[-1].path
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.raises(UserError, match=f"{newest} is damaged"):
        three.all()[-1].load()

    found = three.load_newest()
    assert found is not None
    assert_same(found[1], state_of(2))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{newest} is damaged")


def test_all_damaged(three: CheckpointDirectory) -> None:
    for checkpoint in three.all():
        checkpoint.path.write_bytes(b"")
    with pytest.raises(UserError, match=r"No checkpoint in .*/checkpoints is sound; train again with --overwrite"):
        three.load_newest()


def test_what_killed_writers_left_is_cleared_away(three: CheckpointDirectory) -> None:
    part = three.path / ".checkpoint-00000004-0123456789abcdef.pt.123.part"
    part.write_bytes(b"half")
    assert three.load_newest() is not None
    three.save(4, state_of(4))
    assert not part.exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/checkpoints.* could not be written \(Not a directory\)"):
        CheckpointDirectory(tmp_path / "file" / "checkpoints").save(1, {"step": 1})


def save_for_ever(path: Path, step: int) -> None:
    checkpoints = CheckpointDirectory(path)
    while True:
        step += 1
        checkpoints.save(step, state_of(step))


def test_killed_at_any_moment_what_is_there_is_whole(tmp_path: Path) -> None:
    checkpoints, moments = CheckpointDirectory(tmp_path), random.Random(1)
    step = 0
    for attempt in range(10):
        writer = fork(save_for_ever, tmp_path, step)
        deadline = time.monotonic() + SECONDS
        while not any(checkpoint.step > step for checkpoint in checkpoints.all()):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        if attempt % 2:
            writer.join(moments.uniform(0, 0.04))
        else:
            while not list(tmp_path.glob(".*.part")):
                assert time.monotonic() < deadline
        writer.kill()
        writer.join()

        states = [checkpoint.load() for checkpoint in checkpoints.all()]
        assert_same(states, [state_of(state["step"]) for state in states])
        assert states[-1]["step"] > step
        step = states[-1]["step"]
    checkpoints.save(step + 1, state_of(step + 1))
    assert not list(tmp_path.glob(".*"))
    assert len(checkpoints.all()) == 5
