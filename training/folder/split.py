"""Which pictures of a folder are trained on, which are tested with, and in which order they stand.

Where the folder does not say it, each picture's path decides, by itself: adding pictures, moving the folder, another
machine or another file system move none from one side to the other. (But for the one picture that a class is trained on
though its path says testing: it is tested with as soon as the class has others.)
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import NamedTuple

from training.errors import UserError
from training.folder.files import PictureFile
from training.folder.listing import Listing
from training.folder.names import shown


class Division(NamedTuple):
    """Both in an order that mixes the classes, and that the paths alone decide."""

    train: list[PictureFile]
    test: list[PictureFile]


def divided(listing: Listing, test_share: float) -> Division:
    """As the folder says; else about `test_share` (in (0, 1)) of the pictures are for testing.

    Those are the ones with the first 64 bits of their path's SHA-256 below `test_share` of the way (in the folder, with
    slashes, composed (NFC), in UTF-8). Of a class of which that leaves none to train on, the one with the highest hash
    stays. Raises UserError where there would be nothing to test with.
    """
    if listing.test is not None:
        if not listing.test:
            raise UserError(f"{shown(str(listing.folder))} has no pictures to test with; add some, or remove test/.")
        return Division(*([picture for _, picture in _mixed(part)] for part in (listing.train, listing.test)))
    limit = int(test_share * 2**64)
    train: list[PictureFile] = []
    test: list[PictureFile] = []
    for digest, picture in _mixed(listing.train):
        (test if int.from_bytes(digest[:8]) < limit else train).append(picture)
    trained = {picture.label for picture in train}
    last = {picture.label: picture for picture in test if picture.label not in trained}
    train += last.values()
    test = [picture for picture in test if last.get(picture.label) != picture]
    if not test:
        raise UserError(
            f"{100 * test_share:.3g}% of the {len(train):,} pictures in {shown(str(listing.folder))} leave none to "
            "test with; add pictures, or give a larger --test-share."
        )
    return Division(train, test)


def _mixed(pictures: list[PictureFile]) -> list[tuple[bytes, PictureFile]]:
    """With their hashes, lowest first."""
    return sorted((_digest(picture), picture) for picture in pictures)


def _digest(picture: PictureFile) -> bytes:
    path = picture.path if picture.path.isascii() else unicodedata.normalize("NFC", picture.path)
    return hashlib.sha256(path.encode(errors="surrogateescape")).digest()
