"""Which files of a folder are pictures of which class, and which folders are refused, each in a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import picture_files
from tests.training.picture_folders import numbered, write_flat_pictures
from tests.training.processes import RunCommand
from training.errors import UserError
from training.folder.files import SUFFIXES, UNREAD_SUFFIXES
from training.folder.listing import Listing, list_pictures
from training.named_datasets import load

TWO = {"train/cat": 3, "train/dog": 2, "test/cat": 1, "test/dog": 1}


def paths_of(listing: Listing) -> dict[str, list[str]]:
    """Class name to the paths of its training pictures."""
    return {
        name: sorted(picture.path for picture in listing.train if picture.label == label)
        for label, name in enumerate(listing.class_names)
    }


def test_train_and_test(tmp_path: Path) -> None:
    listing = list_pictures(write_flat_pictures(tmp_path, numbered(TWO)))
    assert paths_of(listing) == {
        "cat": ["train/cat/0.png", "train/cat/1.png", "train/cat/2.png"],
        "dog": ["train/dog/0.png", "train/dog/1.png"],
    }
    assert listing.test is not None
    assert sorted(picture.path for picture in listing.test) == ["test/cat/0.png", "test/dog/0.png"]
    assert listing.passed_over == []


@pytest.mark.parametrize(("train", "test"), [("Train", "Test"), ("TRAIN", "test")])
def test_train_and_test_in_either_case(tmp_path: Path, train: str, test: str) -> None:
    folder = write_flat_pictures(tmp_path, numbered({f"{train}/a": 2, f"{train}/b": 2, f"{test}/a": 1}))
    listing = list_pictures(folder)
    assert listing.class_names == ("a", "b")
    assert [picture.path for picture in listing.test or []] == [f"{test}/a/0.png"]


def test_train_alone(tmp_path: Path) -> None:
    listing = list_pictures(write_flat_pictures(tmp_path, numbered({"train/a": 2, "train/b": 2, "val/a": 1})))
    assert (listing.class_names, listing.test) == (("a", "b"), None)
    assert listing.passed_over == ["val/"]


def test_classes_alone(tmp_path: Path) -> None:
    listing = list_pictures(write_flat_pictures(tmp_path, numbered({"a": 2, "b": 1})))
    assert paths_of(listing) == {"a": ["a/0.png", "a/1.png"], "b": ["b/0.png"]}
    assert listing.test is None


def test_a_class_that_is_called_train(tmp_path: Path) -> None:
    listing = list_pictures(write_flat_pictures(tmp_path, numbered({"bus": 2, "train": 1, "test": 1})))
    assert listing.class_names == ("bus", "test", "train")


def test_any_suffix_in_any_case_and_any_depth(tmp_path: Path) -> None:
    names = ["a.jpg", "b.JPEG", "c.Png", "x/d.webp", "x/y/e.gif", "x/y/z/f.BMP", "g.jfif", "h.jpe"]
    paths = [f"one/{name}" for name in names] + ["two/a.png"]
    assert paths_of(list_pictures(write_flat_pictures(tmp_path, paths)))["one"] == sorted(
        f"one/{name}" for name in names
    )


def test_the_server_reads_files_of_the_same_names() -> None:
    assert set(SUFFIXES) == set(picture_files.SUFFIXES)


def test_what_is_passed_over(tmp_path: Path) -> None:
    write_flat_pictures(tmp_path, numbered(TWO))
    told = ["README.txt", "train/list.csv", "train/cat/cat.txt", "train/0.png", "test/cat/more/x.psd"]
    hidden = [".DS_Store", "train/.git/HEAD", "__MACOSX/train/a.png", "train/cat/._0.png", "train/dog/Thumbs.db"]
    hidden += ["train/@eaDir/a.png", "train/$RECYCLE.BIN/a.png", "System Volume Information/a/0.png"]
    for path in told + hidden:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    (tmp_path / "train/cat/pipe.png").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "train/cat/pipe.png")
    listing = list_pictures(tmp_path)
    assert sorted(listing.passed_over) == sorted([*told, "train/cat/pipe.png"])
    assert sum(map(len, paths_of(listing).values())) == 5


def test_a_hidden_folder_of_pictures_is_named(tmp_path: Path) -> None:
    """Before files, of which there may be thousands."""
    write_flat_pictures(tmp_path, [*numbered({"C#": 20, "Java": 20}), ".NET/more/0.png", "Java/.more/0.png"])
    for number in range(9):
        (tmp_path / f" {number}.txt").write_bytes(b"")
    told: list[str] = []
    assert load(f"folder:{tmp_path}", None, say=told.append).class_names == ("C#", "Java")
    assert told[0].startswith('Passed over, as no pictures of a class: ".NET/", " 0.txt", " 1.txt" and 7 others.')


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (["a/x.HEIC", "b/y.tif", "b/z.tif"], "3 pictures are in formats that are not read (.heic, .tif); convert them"),
        (["b/more/y.NEF"], "1 picture is in a format that is not read (.nef); convert it"),
        ([f"b/x{suffix}" for suffix in UNREAD_SUFFIXES], f"{len(UNREAD_SUFFIXES)} pictures are in formats that"),
    ],
)
def test_formats_that_are_not_read(tmp_path: Path, paths: list[str], sentence: str) -> None:
    write_flat_pictures(tmp_path, numbered({"a": 20, "b": 20}))
    for path in paths:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    told: list[str] = []
    load(f"folder:{tmp_path}", None, say=told.append)
    assert told[0].startswith(f"Warning: {sentence}")
    assert told[0].endswith(" to JPEG or PNG.")


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    elsewhere = write_flat_pictures(tmp_path / "elsewhere", ["0.png", "deeper/1.png"])
    folder = write_flat_pictures(tmp_path / "set", numbered({"cat": 1, "dog": 1}))
    (folder / "linked").symlink_to(elsewhere)
    (folder / "dog" / "one.png").symlink_to(elsewhere / "0.png")
    (folder / "cat" / "again").symlink_to(folder)
    (folder / "cat" / "self").symlink_to(folder / "cat")
    found = paths_of(list_pictures(folder))
    assert found["linked"] == ["linked/0.png", "linked/deeper/1.png"]
    assert found["dog"] == ["dog/0.png", "dog/one.png"]
    assert "cat/0.png" in found["cat"]


ODD = ["a class", "Ünïcode", "it's", 'quo"ted', "🦊", "👨‍👩‍👧", "עברית", "-dash", "a" * 200, "$HOME", "a,b;c"]


def test_odd_names_are_kept(tmp_path: Path) -> None:
    write_flat_pictures(tmp_path, numbered(dict.fromkeys(ODD, 1)))
    assert list_pictures(tmp_path).class_names == tuple(sorted(ODD))


def test_names_are_composed(tmp_path: Path) -> None:
    write_flat_pictures(tmp_path, ["e\u0301te\u0301/0.png", "z/0.png"])
    assert list_pictures(tmp_path).class_names == ("z", "été")


def thousand_and_one(folder: Path) -> None:
    write_flat_pictures(folder, numbered({str(number): 1 for number in range(1_001)}))


def with_an_empty_class(folder: Path) -> None:
    write_flat_pictures(folder, numbered({"a": 1, "b": 1}))
    (folder / "c").mkdir()


def with_a_class_to_convert(folder: Path) -> None:
    write_flat_pictures(folder, numbered({"a": 1, "b": 1}))
    for name in ("a/0.dng", "c/0.HEIC", "c/1.tif"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")


def with_an_empty_test(folder: Path) -> None:
    write_flat_pictures(folder, numbered({"train/a": 1, "train/b": 1}))
    (folder / "test" / "a").mkdir(parents=True)


def not_utf8(folder: Path) -> None:
    write_flat_pictures(folder, numbered({"a": 1}))
    os.mkdir(os.fsencode(folder) + b"/caf\xe9")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: folder.rmdir(), r"There is no folder .*/set; check the path after folder:\.$"),
    "empty": (lambda _: None, r"set holds no folders of pictures; expected FOLDER/train/CLASS and"),
    "no folders": (
        lambda folder: write_flat_pictures(folder, ["0.png", "1.png"]),
        "set holds no folders of pictures; expected",
    ),
    "one class": (
        lambda folder: write_flat_pictures(folder, numbered({"only": 5})),
        r'set holds 1 class \("only"\) where 2 to 1,000 are expected',
    ),
    "1,001 classes": (thousand_and_one, r"set holds 1,001 classes \(.*998 others\) where 2 to 1,000 are expected"),
    "a class without pictures": (
        with_an_empty_class,
        r'holds no picture \(\.jpg, .*\) of "c"; add some, or remove the folder\.$',
    ),
    "a class in other formats": (
        with_a_class_to_convert,
        r'holds pictures of "c" only in formats that are not read \(\.heic, \.tif\); convert them to JPEG or PNG, or '
        r"remove the folder\.$",
    ),
    "a class to test alone": (
        lambda folder: write_flat_pictures(folder, numbered(TWO | {"test/cow": 1})),
        r'set/test has "cow", of which there are no pictures to train on; add some, or remove the folder\.$',
    ),
    "test alone": (
        lambda folder: write_flat_pictures(folder, numbered({"test/a": 1, "test/b": 1})),
        "set has test/ and no train/; expected",
    ),
    "nothing to test with": (
        with_an_empty_test,
        r"set has no pictures to test with; add some, or remove test/\.$",
    ),
    "too few to split": (
        lambda folder: write_flat_pictures(folder, numbered({"a": 1, "b": 1})),
        "20% of the 2 pictures in .*set leave none to test with; add pictures, or give a larger --test-share",
    ),
    "the same name twice": (
        lambda folder: write_flat_pictures(folder, ["e\u0301/0.png", "\u00e9/0.png"]),
        'Two folders in .*set are called "é", in different characters of Unicode; join or rename them',
    ),
    "a name with a line end": (
        lambda folder: write_flat_pictures(folder, ["a\nb/0.png", "c/0.png"]),
        r"The name of the folder .*a\\nb holds a control character; rename it\.$",
    ),
    "a name that turns the text around": (
        lambda folder: write_flat_pictures(folder, ["a\u202eb/0.png", "c/0.png"]),
        r"The name of the folder .*a\\u202eb holds a control character; rename it\.$",
    ),
    "a name that is no UTF-8": (not_utf8, r"The name of the folder .*caf\\udce9 is not UTF-8; rename it\.$"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    make, sentence = REFUSED[name]
    folder = tmp_path / "set"
    folder.mkdir()
    make(folder)
    with pytest.raises(UserError, match=sentence) as refused:
        load(f"folder:{folder}", None)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("command", ["fetch", "train"])
def test_a_refusal_ends_the_command(run: RunCommand, tmp_path: Path, command: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    words = ["--run-dir", tmp_path / "run"] if command == "train" else ["--sample", tmp_path / "sample.png"]
    assert run(command, "--data", f"folder:{file}", *words).refusal() == (
        f"{file} is a file; give the folder of the pictures after folder:."
    )
    assert list(tmp_path.iterdir()) == [file]
