"""Which pictures a folder holds, of which classes, before any of them is opened.

FOLDER/train/CLASS/… and FOLDER/test/CLASS/…, or FOLDER/CLASS/…; pictures in folders below a class's are of that class.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.choices import LEAST_CLASSES, MOST_CLASSES
from training.errors import UserError
from training.folder.files import SUFFIXES, Files, PictureFile, has_folders, suffixes
from training.folder.names import class_name, listed, shown

TRAIN, TEST = "train", "test"  # in either case
LAYOUT = "FOLDER/train/CLASS and FOLDER/test/CLASS, or FOLDER/CLASS, with pictures"


@dataclass(frozen=True)
class Listing:
    folder: Path
    class_names: tuple[str, ...]
    """In the order of their characters."""
    train: list[PictureFile]
    test: list[PictureFile] | None
    """None where the folder does not say which pictures are for testing."""
    passed_over: list[str]
    """Paths of files, and of folders (with a slash at the end), that are no pictures of a class; see files.py."""
    unread: list[str]
    """Paths of pictures of a class in formats that are not read."""


def list_pictures(folder: Path) -> Listing:
    """Raises UserError where there is no such folder, where it cannot be read, or where what it holds are not pictures
    of 2 to 1,000 classes, at least one to train on of each.
    """
    files = Files(folder)
    folders = files.folders(folder)
    train, test = _half(folders, TRAIN), _half(folders, TEST)
    if train is None and test is None:
        files.passed_over.clear()  # they are met again
        return Listing(folder, *_training_pictures(files, folder), None, files.passed_over, list(files.unread))
    if train is None:
        raise UserError(f"{shown(str(folder))} has {TEST}/ and no {TRAIN}/; expected {LAYOUT}.")
    files.passed_over += [f"{name}/" for name, path in folders.items() if path not in (train, test)]
    class_names, pictures = _training_pictures(files, train)
    test_pictures = _test_pictures(files, test, class_names) if test else None
    return Listing(folder, class_names, pictures, test_pictures, files.passed_over, list(files.unread))


def _half(folders: dict[str, Path], wanted: str) -> Path | None:
    """The folder of that name, if it holds folders: one of pictures alone is a class called "train", of vehicles."""
    found = [path for name, path in folders.items() if name.casefold() == wanted and has_folders(path)]
    return found[-1] if found else None  # the lower case, which sorts behind the upper


def _training_pictures(files: Files, place: Path) -> tuple[tuple[str, ...], list[PictureFile]]:
    """The class names, and the pictures by class."""
    folders = _class_folders(files, place)
    if not folders:
        raise UserError(f"{shown(str(place))} holds no folders of pictures; expected {LAYOUT}.")
    if not LEAST_CLASSES <= len(folders) <= MOST_CLASSES:
        raise UserError(
            f"{shown(str(place))} holds {len(folders):,} class{'es' if len(folders) > 1 else ''} "
            f"({listed(list(folders), 3)}) where {LEAST_CLASSES} to {MOST_CLASSES:,} are expected: {LAYOUT}."
        )
    by_class = [files.pictures(path, label) for label, path in enumerate(folders.values())]
    empty = [label for label, pictures in enumerate(by_class) if not pictures]
    if empty:
        raise _without_pictures(place, list(folders), empty, files.unread)
    return tuple(folders), [picture for pictures in by_class for picture in pictures]


def _without_pictures(place: Path, class_names: list[str], empty: list[int], unread: dict[str, int]) -> UserError:
    """`unread`: paths to labels. Classes that hold what can be converted come before those that hold nothing."""
    found = {path: label for path, label in unread.items() if label in empty}
    named = [class_names[label] for label in (sorted(set(found.values())) or empty)]
    remove = f"remove the folder{'s' if len(named) > 1 else ''}"
    if found:
        return UserError(
            f"{shown(str(place))} holds pictures of {listed(named)} only in formats that are not read "
            f"({suffixes(found)}); convert them to JPEG or PNG, or {remove}."
        )
    return UserError(
        f"{shown(str(place))} holds no picture ({', '.join(SUFFIXES)}) of {listed(named)}; add some, or {remove}."
    )


def _test_pictures(files: Files, place: Path, class_names: tuple[str, ...]) -> list[PictureFile]:
    folders = _class_folders(files, place)
    labels = {name: label for label, name in enumerate(class_names)}
    unknown = [name for name in folders if name not in labels]
    if unknown:
        raise UserError(
            f"{shown(str(place))} has {listed(unknown)}, of which there are no pictures to train on; add some, or "
            f"remove the folder{'s' if len(unknown) > 1 else ''}."
        )
    return [picture for name, path in folders.items() for picture in files.pictures(path, labels[name])]


def _class_folders(files: Files, place: Path) -> dict[str, Path]:
    """Class name to folder, in order."""
    found: dict[str, Path] = {}
    for folder_name, path in files.folders(place).items():
        try:
            name = class_name(folder_name)
        except ValueError as error:
            raise UserError(f"The name of the folder {shown(str(path))} {error}; rename it.") from error
        if name in found:
            raise UserError(
                f'Two folders in {shown(str(place))} are called "{name}", in different characters of Unicode; join or '
                "rename them."
            )
        found[name] = path
    return dict(sorted(found.items()))
