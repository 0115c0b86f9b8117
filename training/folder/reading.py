"""People's own pictures as a data set: a folder of folders, each of which is a class.

Read once, into a cache that is known to be out of date when it is: from then on a start looks at sizes and times alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import PIL
import torch
from torch import Tensor

from training.dataset import Dataset, Split
from training.errors import UserError
from training.folder.broken import Broken, described, most_broken, too_many, write_list
from training.folder.cache import Cached, Facts, FolderCache
from training.folder.decoding import decode_into
from training.folder.files import PictureFile, suffixes
from training.folder.listing import TEST, Listing, list_pictures
from training.folder.names import dataset_name, listed, shown
from training.folder.picture import RULE_VERSION
from training.folder.progress import decoding_progress
from training.folder.split import Division, divided
from training.say import Say


def read(folder: Path, side: int, test_share: float | None, default_share: float, say: Say | None) -> Dataset:
    """The pictures of `folder` (see listing.py for what it holds) as `side` x `side` pixels.

    `test_share`: how many of them are for testing, in (0, 1), if a person has asked for that; else, where the folder
    does not say which, `default_share` are. `say` takes sentences for people; without it nothing is told and no
    progress shown.

    Raises UserError where the folder is not as expected or says itself what was asked for, where too many pictures are
    broken, or where the decoded ones can't be kept.
    """
    tell = say or _nobody
    listing = list_pictures(folder)
    if listing.test is not None and test_share is not None:
        raise UserError(f"{shown(str(folder))} says in {TEST}/ which pictures are for testing; leave --test-share out.")
    for sentence in _left_aside(listing):
        tell(sentence)
    share = default_share if test_share is None else test_share
    division = divided(listing, share)
    pictures = [*division.train, *division.test]

    def write(file: IO[bytes], list_path: Path) -> Broken:
        with decoding_progress(len(pictures), say) as done:
            broken = decode_into(file, folder, pictures, side, done)
        if broken:
            write_list(list_path, pictures, broken)
        if len(broken) > most_broken(len(pictures)):
            raise too_many(folder, pictures, broken, list_path)
        _check_usable(listing, division, broken, list_path)
        return broken

    def facts(images: Tensor, broken: Broken) -> Facts:
        train, test = _splits(images, division, broken)
        return Facts(train.sha256(), test.sha256(), _in_both(train, test))

    cache = FolderCache(folder, side, _fingerprint(division, side))
    cached = cache.find_or_make(len(pictures), write, facts, tell)
    for line in _told(pictures, cached):
        tell(line)
    train, test = _splits(cached.images, division, cached.broken, cached.facts)
    chosen = share if listing.test is None else None
    return Dataset(dataset_name(folder.name), listing.class_names, train, test, chosen)


def _nobody(_sentence: str) -> None:
    pass


def _left_aside(listing: Listing) -> Iterator[str]:
    if listing.passed_over:
        folders_first = sorted(listing.passed_over, key=lambda path: not path.endswith("/"))
        yield f"Passed over, as no pictures of a class: {listed(folders_first, 3)}."
    if listing.unread:
        count, kinds = len(listing.unread), shown(suffixes(listing.unread))
        are = "pictures are in formats that are" if count > 1 else "picture is in a format that is"
        yield f"Warning: {count:,} {are} not read ({kinds}); convert {'them' if count > 1 else 'it'} to JPEG or PNG."


def _fingerprint(division: Division, side: int) -> str:
    """Of all that decides the pixels and their order."""
    digest = hashlib.sha256(f"{RULE_VERSION} {PIL.__version__} {side} {len(division.train)}".encode())
    lines = (f"\0{file.path}\0{file.label} {file.size} {file.changed}" for part in division for file in part)
    digest.update("".join(lines).encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _splits(images: Tensor, division: Division, broken: Broken, facts: Facts | None = None) -> tuple[Split, Split]:
    """images: uint8 [M, 3, side, side], of both parts, without the broken."""
    labels = np.array([picture.label for part in division for picture in part], np.int64)
    sound = torch.from_numpy(np.delete(labels, list(broken)))
    train = len(division.train) - sum(at < len(division.train) for at in broken)
    return (
        Split(images[:train], sound[:train], facts.train_sha256 if facts else None),
        Split(images[train:], sound[train:], facts.test_sha256 if facts else None),
    )


def _in_both(train: Split, test: Split) -> int:
    """How many test pictures are among the training pictures too."""
    known = {hashlib.sha256(image).digest() for image in train.images.numpy()}
    return sum(hashlib.sha256(image).digest() in known for image in test.images.numpy())


def _check_usable(listing: Listing, division: Division, broken: Broken, list_path: Path) -> None:
    """Raises UserError where nothing is left of a class, or to test with."""
    trained = {picture.label for at, picture in enumerate(division.train) if at not in broken}
    lost = [name for label, name in enumerate(listing.class_names) if label not in trained]
    folder = shown(str(listing.folder))
    if lost:
        raise UserError(
            f"All training pictures of {listed(lost)} in {folder} are broken, as {list_path} lists; mend or add some, "
            "or remove the class."
        )
    if all(at in broken for at in range(len(division.train), len(division.train) + len(division.test))):
        raise UserError(f"All test pictures in {folder} are broken, as {list_path} lists; mend or add some.")


def _told(pictures: Sequence[PictureFile], cached: Cached) -> Iterator[str]:
    yield from described(pictures, cached.broken, cached.broken_list)
    in_both = cached.facts.in_both
    if in_both:
        yield (
            f"Warning: {in_both:,} test picture{'s are' if in_both > 1 else ' is'} among the training pictures too, "
            "pixel for pixel, so the accuracy will flatter."
        )
