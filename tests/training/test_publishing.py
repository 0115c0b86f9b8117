"""Publishing a version: whole or not at all, whoever is killed when, and whatever else lies in the folder."""

import os
import random
import resource
import sys
import time
from pathlib import Path

import pytest

from tests.training.processes import SECONDS, fork
from training.bundle import Publisher
from training.errors import UserError

SIZE = 4_000_000


def content(version: int) -> bytes:
    return bytes([version % 251]) * SIZE


def publish_for_ever(models: Path, first: int) -> None:
    publisher = Publisher(models, "name")
    while True:
        publisher.publish(content(first))
        first += 1


def versions(models: Path) -> list[int]:
    return sorted(int(path.name) for path in (models / "name").glob("[0-9]*"))


def test_killed_at_any_moment_every_version_is_whole(tmp_path: Path) -> None:
    moments, newest = random.Random(2), 0
    for attempt in range(10):
        writer = fork(publish_for_ever, tmp_path, newest + 1)
        deadline = time.monotonic() + SECONDS
        while newest + 1 not in versions(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        if attempt % 2:
            writer.join(moments.uniform(0, 0.03))
        else:
            while not any(files for _, _, files in os.walk(tmp_path / "name" / ".publishing")):
                assert time.monotonic() < deadline
        writer.kill()
        writer.join()

        found = versions(tmp_path)
        assert found == list(range(1, found[-1] + 1))
        for version in found[newest:]:
            assert (tmp_path / "name" / str(version) / "model.onnx").read_bytes() == content(version)
        newest = found[-1]

    assert Publisher(tmp_path, "name").publish(content(newest + 1)).version == newest + 1
    assert not list((tmp_path / "name").glob(".*"))


def test_versions_are_numbers_not_names(tmp_path: Path) -> None:
    for name in ("2", "10", "007", "latest", "-3", "99.bak"):
        (tmp_path / "name" / name).mkdir(parents=True)
        (tmp_path / "name" / name / "model.onnx").touch()
    publisher = Publisher(tmp_path, "name")
    newest = publisher.newest()
    assert newest is not None
    assert newest.version == 10
    assert publisher.publish(b"new").version == 11


def test_a_version_without_a_file_is_neither_served_nor_filled(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path, "name")
    publisher.publish(b"one")
    (tmp_path / "name" / "5").mkdir()
    newest = publisher.newest()
    assert newest is not None
    assert newest.version == 1
    assert publisher.publish(b"six").version == 6


def test_nothing_published_yet(tmp_path: Path) -> None:
    assert Publisher(tmp_path / "none", "name").newest() is None
    assert not (tmp_path / "none").exists()


def publish_on_a_full_disk(models: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, SIZE // 2))
    try:
        Publisher(models, "name").publish(content(2))
    except UserError as error:
        sys.exit(41 if "written (File too large); make room" in str(error) else 42)


def test_a_full_disk_leaves_no_version(tmp_path: Path) -> None:
    Publisher(tmp_path, "name").publish(content(1))
    process = fork(publish_on_a_full_disk, tmp_path)
    process.join(SECONDS)
    assert process.exitcode == 41
    assert versions(tmp_path) == [1]


@pytest.mark.parametrize("where", ["file", "file/models"])
def test_a_place_that_cannot_be_written(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"{where}/name cannot be written to .*; make room or choose another"):
        Publisher(tmp_path / where, "name").publish(b"model")


def test_a_place_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x/name cannot be read \(File name too long\); choose another --models-dir"):
        Publisher(tmp_path / ("x" * 300), "name").newest()
