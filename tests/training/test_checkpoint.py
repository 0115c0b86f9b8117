"""Checkpoint files: whole or absent, believed only when sound, the newest few kept."""

import hashlib
import io
import os
import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.processes import SECONDS, fork
from tests.training.runs import assert_same
from training.checkpoint import ENTRIES, CheckpointDirectory
from training.errors import UserError
from training.files import make_directory, sync_directory


def state_of(step: int, numbers: int = 500_000) -> dict[str, Any]:
    """As large as a few of a network's layers, and with every entry that a checkpoint has."""
    entries = dict.fromkeys(sorted(ENTRIES), (1, 2))
    return entries | {"step": step, "network": {"a": torch.full((numbers,), float(step))}, "recipe": {"name": "x"}}


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
        checkpoints.save(step, state_of(step, 3))
    assert [checkpoint.step for checkpoint in checkpoints.all()] == [5, 99_999_999, 100_000_000]


def test_the_newest_five_are_kept(tmp_path: Path) -> None:
    checkpoints = CheckpointDirectory(tmp_path)
    for step in range(8):
        checkpoints.save(step, state_of(step, 3))
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


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def replace_by_unreadable(path: Path) -> None:
    """What the disk will not give back: for a process's memory at 0, where nothing is, the kernel says EIO."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


def change_step(path: Path) -> None:
    path.rename(path.with_name(path.name.replace("00000003", "00000007")))


def replace_by(content: bytes) -> Callable[[Path], None]:
    """Content that is not a checkpoint's, under a name that has its checksum."""

    def replace(path: Path) -> None:
        path.unlink()
        path.with_name(f"checkpoint-00000003-{hashlib.sha256(content).hexdigest()[:16]}.pt").write_bytes(content)

    return replace


def saved(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: os.truncate(path, path.stat().st_size // 2), "is damaged (its checksum"),
    "bit flipped": (flip_a_bit, "is damaged (its checksum"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged (its checksum"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "is damaged (its checksum"),
    "a directory": (replace_by_directory, "cannot be read (Is a directory)"),
    "unreadable": (replace_by_unreadable, "cannot be read (Input/output error)"),
    "of another step": (change_step, "is damaged (its name says step 7 and its content step 3)"),
    "no checkpoint": (replace_by(b"a text"), "is damaged (PyTorch cannot read it)"),
    "code": (replace_by(pickle.dumps(Path, protocol=2)), "is damaged (PyTorch cannot read it)"),
    "no state": (replace_by(saved([1, 2])), "is damaged (it is not a training's state)"),
    "half a state": (
        replace_by(saved(dict.fromkeys(ENTRIES - {"identity", "random"}, 3))),
        "is damaged (it has no identity and no random)",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_named_and_the_one_before_it_used(
    three: CheckpointDirectory, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    do, reason = DAMAGES[damage]
    do(three.all()[-1].path)
    newest = three.all()[-1]
    with pytest.raises(UserError, match=re.escape(f"{newest.path} {reason}")):
        newest.load()

    found = three.load_newest()
    assert found is not None
    assert_same(found[1], state_of(2))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{newest.path} {reason}")
    assert line.endswith("The checkpoint before it is used.")


@pytest.mark.parametrize("damage", DAMAGES)
def test_training_on_from_the_one_before_it(three: CheckpointDirectory, damage: str) -> None:
    DAMAGES[damage][0](three.all()[-1].path)
    damaged = three.all()[-1].path
    three.load_newest()
    for step in range(3, 14):
        three.save(step, state_of(step, 3))
    newest = three.load_newest()
    assert newest is not None
    assert newest[0].step == 13
    sound = [checkpoint for checkpoint in three.all() if checkpoint.path != damaged]
    assert [checkpoint.load()["step"] for checkpoint in sound] == [9, 10, 11, 12, 13]


def test_several_damaged(three: CheckpointDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    for checkpoint in three.all()[1:]:
        flip_a_bit(checkpoint.path)
    found = three.load_newest()
    assert found is not None
    assert found[0].step == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("damaged", [5, 6])
def test_the_last_sound_one_and_the_new_one_outlive_any_number_of_damaged(tmp_path: Path, damaged: int) -> None:
    for step in range(1, damaged + 2):  # a process that was killed had not yet deleted the oldest
        CheckpointDirectory(tmp_path, keep=10).save(10 * step, state_of(10 * step, 3))
    checkpoints = CheckpointDirectory(tmp_path)
    for checkpoint in checkpoints.all()[1:]:
        flip_a_bit(checkpoint.path)
    for step in (11, 12):
        assert checkpoints.load_newest() is not None
        checkpoints.save(step, state_of(step, 3))
        newest = CheckpointDirectory(tmp_path).load_newest()
        assert newest is not None
        assert newest[0].step == step


@pytest.mark.parametrize("damage", DAMAGES)
def test_all_damaged(three: CheckpointDirectory, damage: str) -> None:
    for checkpoint in three.all()[:-1]:
        checkpoint.path.write_bytes(b"")
    DAMAGES[damage][0](three.all()[-1].path)
    with pytest.raises(UserError, match=r"No checkpoint in .*/checkpoints is sound; delete .* to train anew"):
        three.load_newest()


def test_while_a_training_saves_and_deletes_the_newest_is_found(tmp_path: Path) -> None:
    writer = fork(save_for_ever, tmp_path, 0, 2)
    deadline = time.monotonic() + SECONDS
    steps: list[int] = []
    while len(set(steps)) < 10:  # it has saved meanwhile, and deleted
        assert writer.is_alive()
        assert time.monotonic() < deadline
        newest = CheckpointDirectory(tmp_path).load_newest()
        if newest is not None:
            steps.append(newest[0].step)
        else:
            assert not steps
    writer.kill()
    assert steps == sorted(steps)


def test_what_killed_writers_left_is_cleared_away(three: CheckpointDirectory) -> None:
    part = three.path / ".checkpoint-00000004-0123456789abcdef.pt.123.part"
    part.write_bytes(b"half")
    assert three.load_newest() is not None
    three.save(4, state_of(4))
    assert not part.exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/checkpoints.* could not be written \(Not a directory\)"):
        CheckpointDirectory(tmp_path / "file" / "checkpoints").save(1, state_of(1))


@pytest.mark.parametrize("path", ["deep/down", "."])
def test_a_directory_that_cannot_be_synced_is_no_failure(tmp_path: Path, path: str) -> None:
    make_directory(tmp_path / path)
    assert (tmp_path / path).is_dir()
    sync_directory(Path("/proc"))  # a file system that has no such thing


def save_for_ever(path: Path, step: int, numbers: int) -> None:
    checkpoints = CheckpointDirectory(path, keep=1)
    while True:
        step += 1
        checkpoints.save(step, state_of(step, numbers))
