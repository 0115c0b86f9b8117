"""Files that cannot be read as pictures: left out and told, up to a limit."""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.picture_folders import numbered, write_flat_pictures
from tests.training.processes import RunCommand
from training.dataset import Dataset
from training.errors import UserError
from training.named_datasets import load

HUGE = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 30_000, 30_000, 1, 24, *[0] * 6)

NO_PICTURE = "it is not a JPEG, PNG, WebP, GIF or BMP picture, whatever its name says, or its beginning is damaged"


def link_to(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "it is empty"),
    "text": (lambda path: path.write_text("no"), NO_PICTURE),
    "cut off in its header": (lambda path: os.truncate(path, 30), NO_PICTURE),
    "cut off": (lambda path: os.truncate(path, path.stat().st_size - 40), "it is damaged or truncated"),
    "huge": (lambda path: path.write_bytes(HUGE), "it has more than 179 megapixels"),
    "a link that leads nowhere": (lambda path: link_to(path, Path("nowhere")), "No such file or directory"),
    "a link to itself": (lambda path: link_to(path, path), "Too many levels of symbolic links"),
}


def load_told(folder: Path) -> tuple[Dataset, list[str]]:
    told: list[str] = []
    return load(f"folder:{folder}", None, say=told.append), told


@pytest.mark.parametrize("damage", DAMAGES)
def test_left_out_with_a_reason(tmp_path: Path, damage: str) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered({"a": 20, "b": 20}), (90, 90))
    do, reason = DAMAGES[damage]
    do(folder / "b" / "7.png")
    dataset, told = load_told(folder)
    assert len(dataset.train) + len(dataset.test) == 39
    (at,) = [at for at, line in enumerate(told) if line == "1 broken picture is left out:"]
    assert told[at + 1].startswith(f"  b/7.png: {reason}")
    assert load_told(folder)[1] == told[at:], "from the cache, the same"


def test_labels_stay_with_their_pictures(tmp_path: Path) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered({"a": 30, "b": 30}))
    whole, _ = load_told(folder)
    shades = {
        tuple(image[:, 0, 0].tolist()): label
        for image, label in zip(whole.train.images, whole.train.labels.tolist(), strict=True)
    }
    for number in (3, 4, 11, 20):
        (folder / "a" / f"{number}.png").write_bytes(b"")
    dataset, _ = load_told(folder)
    for split in (dataset.train, dataset.test):
        assert split.images.shape[0] == len(split) == split.labels.shape[0]
    for image, label in zip(dataset.train.images, dataset.train.labels.tolist(), strict=True):
        assert shades[tuple(image[:, 0, 0].tolist())] == label
    assert len(dataset.train) + len(dataset.test) == 56


def test_ten_are_listed_and_more_are_too_many(run: RunCommand, tmp_path: Path) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered({"a": 20, "b": 20}))
    for number in range(10):
        (folder / "a" / f"{number}.png").write_bytes(b"")
    finished = run("fetch", "--data", f"folder:{folder}")
    assert finished.status == 0, finished.errors
    assert finished.output.count(": it is empty\n") == 10
    (folder / "a" / "10.png").write_text("no")
    refusal = run("fetch", "--data", f"folder:{folder}").refusal()
    assert f"11 of the 40 pictures in {folder} are broken, and at most 10 may be (" in refusal
    assert refusal.endswith(" lists all.")


def test_of_many_pictures_one_in_a_hundred(tmp_path: Path) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered({"a": 1_000, "b": 500}, "bmp"), (1, 1))
    for number in range(15):
        (folder / "a" / f"{number}.bmp").write_bytes(b"")
    dataset, told = load_told(folder)
    assert len(dataset.train) + len(dataset.test) == 1_485
    assert told[-1].startswith("  and 5 others; ")
    (folder / "b" / "0.bmp").write_bytes(b"")
    with pytest.raises(UserError, match=r"16 of the 1,500 pictures .* at most 15 may be"):
        load_told(folder)


def listed_in(sentence: str) -> list[str]:
    """The lines of the file that a sentence names."""
    (path,) = re.findall(r"(/\S+\.txt) lists", sentence)
    return sorted(Path(path).read_text().splitlines())


def test_all_are_listed_in_a_file(tmp_path: Path) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered({"a": 1_100, "b": 100}, "bmp"), (1, 1))
    for number in range(11):
        (folder / "a" / f"{number}.bmp").write_bytes(b"")
    (folder / "b" / "tab\t\n.png").write_text("no")
    empty = [f"a/{number}.bmp\tit is empty" for number in range(11)]
    expected = sorted([*empty, f"b/tab\\t\\n.png\t{NO_PICTURE}"])
    first = load_told(folder)[1][-1]
    assert listed_in(first) == expected
    assert load_told(folder)[1][-1] == first, "from the cache, the same"
    Path(first.split("; ")[1].removesuffix(" lists all")).unlink()
    assert load_told(folder)[1][-1] == first
    assert listed_in(first) == expected


def test_a_refusal_lists_all_too(tmp_path: Path) -> None:
    """Not only those up to the one that was too many."""
    folder = write_flat_pictures(tmp_path / "set", numbered({"a": 200, "b": 20}, "bmp"), (1, 1))
    for number in range(199):
        (folder / "a" / f"{number}.bmp").write_bytes(b"")
    with pytest.raises(UserError, match=r"199 of the 220 pictures") as refused:
        load_told(folder)
    assert listed_in(str(refused.value)) == sorted(f"a/{number}.bmp\tit is empty" for number in range(199))
    for number in range(199):
        write_flat_pictures(folder, [f"a/{number}.bmp"], (1, 1))
    assert not any("broken" in line for line in load_told(folder)[1])


def test_too_little_memory_is_not_the_pictures_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(*_: object, **__: object) -> None:
        raise MemoryError

    folder = write_flat_pictures(tmp_path / "set", numbered({"a": 20, "b": 20}), (90, 90))
    with monkeypatch.context() as patch:
        patch.setattr("PIL.Image.Image.resize", without_memory)
        with pytest.raises(UserError, match=r"There is not enough memory to decode .*/set/[ab]/\d+\.png; end other"):
            load_told(folder)
    dataset, told = load_told(folder)
    assert len(dataset.train) + len(dataset.test) == 40
    assert not any("broken" in line for line in told)


def test_nothing_left_of_a_class(tmp_path: Path) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered({"train/a": 9, "train/b": 2, "test/a": 3}))
    for path in (folder / "train" / "b").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        UserError, match=r'training pictures of "b" in .*set are broken, as /.*\.txt lists; mend or add'
    ):
        load_told(folder)
    shutil.rmtree(folder / "train" / "b")
    write_flat_pictures(folder, ["train/b/0.png"])
    for path in (folder / "test" / "a").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        UserError, match=r"All test pictures in .*set are broken, as /.*\.txt lists; mend or add some\."
    ):
        load_told(folder)


def test_a_name_cannot_command_the_terminal(tmp_path: Path) -> None:
    folder = write_flat_pictures(tmp_path / "set", numbered({"a": 20, "b": 20}))
    (folder / "a" / "red \x1b[31m\n.png").write_bytes(b"")
    (folder / "a" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    told = load_told(folder)[1]
    assert "  a/red \\x1b[31m\\n.png: it is empty" in told
    assert "  a/caf\\udce9.png: it is empty" in told
