"""Pictures are decoded once: until a file changes, whatever is killed, and where there is room."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.picture_folders import color_of, numbered, write_flat_pictures
from tests.training.processes import SECONDS, RunCommand, StartCommand, fork
from training.dataset import Dataset
from training.errors import UserError
from training.named_datasets import load

CLASSES = {"a": 12, "b": 12}
Told = tuple[Dataset, str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_flat_pictures(tmp_path / "set", numbered(CLASSES))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place that nothing else uses, of which this process and interpreters that it starts know."""
    path = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))
    return path


def load_told(folder: Path, image_size: int = 32, test_share: float | None = None) -> Told:
    told: list[str] = []
    dataset = load(f"folder:{folder}", None, image_size, test_share, told.append)
    return dataset, "\n".join(told)


def kept(cache: Path) -> list[str]:
    """What is in the folders of the cache: sizes and suffixes."""
    return sorted(f"{path.name.partition('-')[0]}{path.suffix}" for path in cache.glob("*/*/[!.]*"))


def test_the_second_time_nothing_is_decoded(folder: Path, cache: Path) -> None:
    first, told = load_told(folder)
    assert told.startswith(f"Decoding 24 pictures of {folder}, this once, into {cache}/")
    for path in folder.glob("*/*.png"):
        make_unreadable(path)
    second, told = load_told(folder)
    assert told == ""
    for name in ("train", "test"):
        one, two = getattr(first, name), getattr(second, name)
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.labels, two.labels)
        assert one.sha256() == two.sha256() == type(two)(two.images, two.labels).sha256()
    assert kept(cache) == ["32.json", "32.pictures"]
    assert stat.S_IMODE((cache / "cifar10-train-and-serve").stat().st_mode) == 0o700


def make_unreadable(path: Path) -> None:
    """Leaves what is looked at to see whether a picture has changed."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def rewrite(folder: Path) -> None:
    write_flat_pictures(folder, ["a/3.png"], (9, 9))


def rewrite_in_the_same_size(folder: Path) -> None:
    path, status = folder / "a" / "3.png", (folder / "a" / "3.png").stat()
    path.write_bytes((folder / "b" / "3.png").read_bytes().ljust(status.st_size, b"\0")[: status.st_size])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


CHANGES: dict[str, Callable[[Path], object]] = {
    "rewritten": rewrite,
    "rewritten in the same size": rewrite_in_the_same_size,
    "added": lambda folder: write_flat_pictures(folder, ["a/new.png"]),
    "removed": lambda folder: (folder / "a" / "3.png").unlink(),
    "renamed": lambda folder: (folder / "a" / "3.png").rename(folder / "a" / "x.png"),
    "moved to another class": lambda folder: (folder / "a" / "3.png").rename(folder / "b" / "30.png"),
    "a new class": lambda folder: write_flat_pictures(folder, ["c/0.png"]),
    "a class renamed": lambda folder: (folder / "b").rename(folder / "z"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(folder: Path, cache: Path, change: str) -> None:
    load_told(folder)
    CHANGES[change](folder)
    dataset, told = load_told(folder)
    assert "Decoding" in told
    assert len(dataset.train) + len(dataset.test) == len(list(folder.glob("*/*.png")))
    assert kept(cache) == ["32.json", "32.pictures"], "what is out of date is removed"
    assert load_told(folder)[1] == ""


def test_other_files_beside_the_pictures_change_nothing(folder: Path) -> None:
    load_told(folder)
    (folder / "a" / "notes.txt").write_text("new")
    (folder / ".DS_Store").write_text("new")
    assert "Decoding" not in load_told(folder)[1]


def test_each_size_and_each_share_by_itself(folder: Path, cache: Path) -> None:
    small, large = load_told(folder)[0], load_told(folder, 48)[0]
    assert (small.train.images.shape[1:], large.train.images.shape[1:]) == ((3, 32, 32), (3, 48, 48))
    assert kept(cache) == ["32.json", "32.pictures", "48.json", "48.pictures"]
    assert load_told(folder)[1] == load_told(folder, 48)[1] == ""
    assert len(load_told(folder, 32, 0.5)[0].test) > len(small.test)


def test_two_folders_of_one_name(tmp_path: Path) -> None:
    one = write_flat_pictures(tmp_path / "1" / "set", numbered(CLASSES))
    other = write_flat_pictures(tmp_path / "2" / "set", numbered({"a": 30, "b": 12}))
    assert sum(map(len, (load_told(one)[0].train, load_told(one)[0].test))) == 24
    assert sum(map(len, (load_told(other)[0].train, load_told(other)[0].test))) == 42
    assert load_told(one)[1] == ""


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        ("pictures", Path.unlink),
        ("pictures", cut),
        ("pictures", lambda path: path.write_bytes(b"")),
        ("json", Path.unlink),
        ("json", cut),
        ("json", lambda path: path.write_text("[]")),
        ("json", lambda path: path.write_text('{"pictures": "many", "broken": {}, "facts": {}}')),
    ],
)
def test_a_damaged_cache_is_made_again(
    folder: Path, cache: Path, suffix: str, damage: Callable[[Path], object]
) -> None:
    images = load_told(folder)[0].train.images.clone()
    (path,) = cache.glob(f"*/*/*.{suffix}")
    damage(path)
    dataset, told = load_told(folder)
    assert "Decoding" in told
    assert torch.equal(dataset.train.images, images)


def test_killed_in_the_middle(folder: Path, cache: Path) -> None:
    process = fork(load_and_die, folder, cache)
    process.join(SECONDS)
    assert process.exitcode == -signal.SIGKILL
    assert kept(cache) == []
    assert any(path.stat().st_size for path in cache.glob("*/*/.*.part"))
    dataset, told = load_told(folder)
    assert "Decoding 24" in told
    assert list(cache.glob("*/*/.*.part")) == []
    assert len(dataset.train) + len(dataset.test) == 24


def load_and_die(folder: Path, cache: Path) -> None:
    """Dies when it has decoded all pictures, and is about to say that this file of the cache is whole."""

    def die(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and str(arguments[0]).startswith(str(cache)):
            os.kill(os.getpid(), signal.SIGKILL)

    os.environ["XDG_CACHE_HOME"] = str(cache)
    sys.addaudithook(die)
    load_told(folder)


def test_of_two_at_once_one_decodes(start: StartCommand, cache: Path, tmp_path: Path) -> None:
    folder = write_flat_pictures(tmp_path / "large", numbered({"a": 100, "b": 100}), (500, 500))
    commands = [start("fetch", "--data", f"folder:{folder}", interpreter=True) for _ in range(2)]
    finished = [command.finish() for command in commands]
    assert [one.status for one in finished] == [0, 0], finished
    assert sum("Decoding 200" in one.output for one in finished) == 1
    assert all("2 classes, 156 training and 44 test" in one.output for one in finished), finished
    assert kept(cache) == ["32.json", "32.pictures"]


def test_mapped_and_not_read_into_memory(tmp_path: Path) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered({"a": 400, "b": 400}, "bmp"), (1, 1))
    load_told(folder, 224)
    load_told(folder, 224)  # what is loaded by then is not loaded again
    before = _own_megabytes()
    dataset, _ = load_told(folder, 224)
    assert dataset.train.images.untyped_storage().nbytes() > 100e6
    assert int(dataset.train.images[-1, 0, 0, 0]) == color_of(_last(dataset))[0]
    assert _own_megabytes() - before < 20


def _own_megabytes() -> float:
    """Memory of this process that no file stands behind."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1000


def _last(dataset: Dataset) -> str:
    """The path of the last training picture, found by its colour."""
    color = tuple(dataset.train.images[-1, :, 0, 0].tolist())
    (path,) = [name for name in numbered({"a": 400, "b": 400}, "bmp") if color_of(name) == color]
    return path


def test_no_room_for_a_file(run: RunCommand, tmp_path: Path) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered({"a": 40, "b": 40}))
    refusal = run("fetch", "--data", f"folder:{folder}", file_bytes=100_000).refusal()
    assert "pictures could not be written (File too large); make room or choose another place." in refusal
    finished = run("fetch", "--data", f"folder:{folder}")
    assert "Decoding 80 pictures" in finished.output


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "disk", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs to mount a disk: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def test_a_disk_that_is_too_small(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered(CLASSES))
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    load_told(folder)
    with pytest.raises(
        UserError, match=r"take 4 MB when they are decoded and .* has room for \d; make room, give a sm"
    ):
        load_told(folder, 224)
    assert load_told(folder)[1] == "", "what was there is there"


def test_a_place_that_cannot_be_written_to(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered(CLASSES))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dataset, told = load_told(folder)
    assert f"{disk}/" in told
    assert "cannot be used (Read-only file system); looking for another place." in told
    assert f"this once, into {tmp_path}/cifar10-train-and-serve-{os.getuid()}/" in told
    again, told = load_told(folder)
    assert told == ""
    assert torch.equal(dataset.test.images, again.test.images)
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    with pytest.raises(UserError, match=r"There is no place for decoded pictures; name a folder in \$XDG_CACHE_HOME"):
        load_told(folder, 40)


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_place_without_locks(
    folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    """As some network file systems are."""
    lock = fcntl.flock

    def flock(descriptor: int, flags: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"{cache}/"):
            raise OSError(reason, os.strerror(reason))
        lock(descriptor, flags)

    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    told = load_told(folder)[1]
    assert f"cannot be used ({os.strerror(reason)}); looking for another place." in told
    assert f"this once, into {tmp_path}/temporary/" in told
    assert load_told(folder)[1] == ""


def test_a_place_that_somebody_else_has_taken(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all may write, a link could lead anywhere."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (tmp_path / f"cifar10-train-and-serve-{os.getuid()}").symlink_to(theirs)
    with pytest.raises(UserError, match="There is no place for decoded pictures"):
        load_told(folder)
    assert list(theirs.iterdir()) == []


def test_a_folder_that_is_only_read(disk: Path, cache: Path) -> None:
    folder = write_flat_pictures(disk / "set", numbered({"a": 8, "b": 8}))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert "Decoding 16" in load_told(folder)[1]
    assert load_told(folder)[1] == ""
    assert kept(cache) == ["32.json", "32.pictures"]


def test_pixels_are_three_planes(tmp_path: Path) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered({"a": 20, "b": 20}))
    dataset, _ = load_told(folder)
    colors = {color_of(path) for path in numbered({"a": 20, "b": 20})}
    images = np.concatenate([dataset.train.images.numpy(), dataset.test.images.numpy()])
    assert {tuple(image[:, 5, 9].tolist()) for image in images} == colors
    assert images.dtype == np.uint8
