"""Which pictures are tested with is decided by each path alone, and stays decided."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.training.picture_folders import numbered, write_flat_pictures
from training.errors import UserError
from training.folder.listing import list_pictures
from training.folder.split import divided

SHARE = 0.2
CLASSES = {"cat": 200, "dog": 100, "été": 50}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flat_pictures(tmp_path_factory.mktemp("split") / "set", numbered(CLASSES), (1, 1))


def for_testing(folder: Path, share: float = SHARE) -> set[str]:
    train, test = ({picture.path for picture in half} for half in divided(list_pictures(folder), share))
    assert not train & test
    assert len(train | test) == sum(len(list(path.iterdir())) for path in folder.iterdir())
    return test


def test_the_same_pictures_on_every_machine(folder: Path) -> None:
    """Those of which `printf cat/0.png | sha256sum` begins with less than 3333333333333333, a fifth of the way."""
    assert sorted(for_testing(folder))[:5] == ["cat/0.png", "cat/10.png", "cat/107.png", "cat/115.png", "cat/123.png"]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_about_the_share_that_was_asked_for(folder: Path, share: float) -> None:
    assert len(for_testing(folder, share)) == pytest.approx(350 * share, rel=0.25)


def test_a_larger_share_takes_more_and_gives_none_back(folder: Path) -> None:
    assert for_testing(folder, 0.1) < for_testing(folder, 0.3) < for_testing(folder, 0.8)


def test_moving_adding_and_touching_change_no_side(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    write_flat_pictures(moved, ["cat/new one.png", "ape/0.png", "ape/1.png"], (1, 1))
    (moved / "dog" / "5.png").touch()
    added = {"cat/new one.png", "ape/0.png", "ape/1.png"}
    assert for_testing(moved) - added == for_testing(folder)


def test_a_decomposed_name_is_the_same_name(folder: Path, tmp_path: Path) -> None:
    """As some file systems spell it."""
    other = tmp_path / "set"
    shutil.copytree(folder, other)
    (other / "été").rename(other / "e\u0301te\u0301")
    assert {path.replace("e\u0301", "é") for path in for_testing(other)} == for_testing(folder)


def test_classes_are_mixed(folder: Path) -> None:
    for half in divided(list_pictures(folder), SHARE):
        assert len({picture.label for picture in half[:20]}) == 3


def test_a_small_share_is_told_as_it_is(tmp_path: Path) -> None:
    listing = list_pictures(write_flat_pictures(tmp_path, numbered({"a": 4, "b": 4}), (1, 1)))
    with pytest.raises(UserError, match=r"^0\.4% of the 8 pictures in "):
        divided(listing, 0.004)


@pytest.mark.parametrize("share", [0.2, 0.999])
def test_every_class_keeps_a_picture_to_train_on(tmp_path: Path, share: float) -> None:
    classes = {f"class {number}": 1 + number % 3 for number in range(40)} | {"many": 50}
    listing = list_pictures(write_flat_pictures(tmp_path, numbered(classes), (1, 1)))
    train, test = divided(listing, share)
    assert {picture.label for picture in train} == set(range(41))
    single = {label for label, name in enumerate(listing.class_names) if classes[name] == 1}
    assert not single & {picture.label for picture in test}
    assert len(train) + len(test) == sum(classes.values())
