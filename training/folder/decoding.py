"""All pictures of a folder, decoded by as many threads as there are processors, written down in their order.

Threads, since Pillow lets others run while it decodes, scales and converts.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from training.device import processors
from training.errors import UserError
from training.folder.broken import Broken, most_broken
from training.folder.files import PictureFile
from training.folder.names import shown
from training.folder.picture import square_rgb

_DAMAGED = "it is damaged or truncated"
_CANNOT_BE_OPENED = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP)
_AT_ONCE = 32  # pictures, by one thread
_AHEAD = 3  # times as many as are at work wait to be written, or to be decoded

Results = list[NDArray[np.uint8] | str]
"""Of some pictures: uint8 [3, side, side], or what is wrong with it."""


def decode_into(
    file: IO[bytes], folder: Path, pictures: Sequence[PictureFile], side: int, done: Callable[[int], object]
) -> Broken:
    """Writes the pictures that can be read, uint8 [M, 3, side, side], and returns the others.

    Once too many are broken, nothing more is written: the rest is looked at for what else is broken. `done` is told how
    many more have been looked at. Raises UserError where the disk or the memory fails, and OSError where the file
    cannot be written.
    """
    most = most_broken(len(pictures))
    broken: Broken = {}
    with _without_warnings(), closing(_decoded(folder, pictures, side)) as decoded:
        for start, results in zip(_starts(pictures), decoded, strict=True):
            for position, result in enumerate(results, start):
                if isinstance(result, str):
                    broken[position] = result
                elif len(broken) <= most:
                    file.write(result.data)
            done(len(results))
    return broken


def _decoded(folder: Path, pictures: Sequence[PictureFile], side: int) -> Generator[Results, None, None]:
    """In order, _AT_ONCE pictures at a time."""
    threads = processors()

    def decode(part: Sequence[PictureFile]) -> Results:
        return [_planes(folder / picture.path, side) for picture in part]

    waiting: deque[Future[Results]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for start in _starts(pictures):
            waiting.append(pool.submit(decode, pictures[start : start + _AT_ONCE]))
            if len(waiting) > _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _starts(pictures: Sequence[PictureFile]) -> range:
    return range(0, len(pictures), _AT_ONCE)


def _planes(path: Path, side: int) -> NDArray[np.uint8] | str:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return "it is empty"
            return np.ascontiguousarray(square_rgb(file, side).transpose(2, 0, 1))
    except UnidentifiedImageError:
        return "it is not a JPEG, PNG, WebP, GIF or BMP picture, whatever its name says, or its beginning is damaged"
    except Image.DecompressionBombError:
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} megapixels"
    except OSError as error:
        if error.errno is None:  # Pillow's own
            return _DAMAGED
        if error.errno not in _CANNOT_BE_OPENED:  # a disk or a network that may recover: it is not the file's fault
            raise UserError(f"{shown(str(path))} cannot be read ({error.strerror}); check the disk.") from error
        return os.strerror(error.errno)
    except MemoryError as error:  # it is not the file's fault either
        raise UserError(
            f"There is not enough memory to decode {shown(str(path))}; end other programs, or make the picture smaller."
        ) from error
    except Exception:  # Pillow's decoders raise SyntaxError, ValueError, struct.error and more
        return _DAMAGED


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Pillow warns of large pictures and of odd metadata, which are no trouble here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
