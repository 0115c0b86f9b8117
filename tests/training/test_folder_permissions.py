"""Pictures that may not be read, by a user for whom that means something."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from tests.training.picture_folders import numbered, write_flat_pictures
from tests.training.processes import SECONDS, fork

Fetch = Callable[[], tuple[int | None, str]]
NOBODY = 65_534


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may look into, which pytest's are not."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o777)
        yield Path(path)


@pytest.fixture
def folder(public: Path) -> Path:
    return write_flat_pictures(public / "set", numbered({"train/a": 12, "train/b": 12, "test/a": 3}))


@pytest.fixture
def fetch(public: Path, folder: Path) -> Fetch:
    """Reads the folder as a user without privileges; returns the exit status and all that was printed."""

    def fetch() -> tuple[int | None, str]:
        process = fork(_fetch, folder, public / "cache", public / "output")
        process.join(SECONDS)
        return process.exitcode, (public / "output").read_text()

    return fetch


def _fetch(folder: Path, cache: Path, output: Path) -> None:
    from training.__main__ import main

    with output.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        cache.mkdir(exist_ok=True)
        if os.getuid() == 0:
            os.chown(cache, NOBODY, NOBODY)
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        os.environ["XDG_CACHE_HOME"] = str(cache)
        status = main(["fetch", "--data", f"folder:{folder}"])
    sys.exit(status)


def test_a_file_is_left_out_until_it_may_be_read(folder: Path, fetch: Fetch) -> None:
    (folder / "train" / "a" / "3.png").chmod(0)
    for _ in range(2):
        status, output = fetch()
        assert status == 0, output
        assert "1 broken picture is left out:\n  train/a/3.png: Permission denied\n" in output
        assert "2 classes, 23 training" in output
    (folder / "train" / "a" / "3.png").chmod(0o644)
    status, output = fetch()
    assert "left out" not in output
    assert "2 classes, 24 training" in output


@pytest.mark.parametrize(("path", "mode"), [("train/b", 0), ("test", 0o600), ("", 0o600), ("train/b", 0o300)])
def test_a_folder_is_told_in_a_sentence(folder: Path, fetch: Fetch, path: str, mode: int) -> None:
    (folder / path).chmod(mode)
    try:
        status, output = fetch()
    finally:
        (folder / path).chmod(0o755)
    assert status == 2
    assert output.count("\n") == 1
    assert output.startswith(str(folder / path))
    assert output.endswith(" cannot be read (Permission denied); check the disk and the permissions.\n")
