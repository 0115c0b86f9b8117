"""``python -m serving predict FILE…``: what POST /predict answers, without a server."""

import argparse
import io
import logging
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from multiprocessing.pool import AsyncResult, ThreadPool

import numpy as np
from numpy.typing import NDArray

from serving.classifier import Classifier, InferenceFailed
from serving.picture import FORMATS_IN_WORDS, BrokenPicture, TooManyPixels, UnreadableType, decode_picture
from serving.picture_files import PictureFile, UnreadableFile, find_pictures
from serving.prediction_lines import Table, json_line, printable, tab_separated
from serving.predictions import Prediction
from serving.published_model import load_model
from serving.settings import Parser, Settings, UsageError, add_flags, chosen_settings

SETTINGS = ("models_dir", "model", "max_pixels", "inference_threads")
BATCH = 64
# Batches that are read and decoded while one is classified.
BATCHES_AHEAD = 2

Decoded = NDArray[np.uint8] | Exception
"""The picture, uint8 [height, width, 3], or why there is none."""


def predict(arguments: Sequence[str]) -> int:
    """Classify files: answers go to standard output, a line for each failure to standard error, both in order.

    Returns 0, or 1 when a file could not be answered. Raises UsageError for wrong arguments and unusable models.
    """
    given = _parse(arguments)
    settings = chosen_settings(vars(given))
    _prepare_streams()
    classifier = load_model(settings.models_dir, settings.model, given.version, settings.inference_threads)
    files = find_pictures(given.files, given.recursive)
    in_form = _form(given, classifier, files)
    failures = 0
    for file, outcome in _classify(classifier, files, settings):
        if isinstance(outcome, Exception):
            failures += 1
            print(f"{printable(file.name)}: {outcome}", file=sys.stderr)
        else:
            _write(in_form(file.name, outcome))
    return 1 if failures else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m serving predict",
        description=f"Classify pictures ({FORMATS_IN_WORDS}) as POST /predict does, without a server. On a terminal "
        "the answers are a table, elsewhere lines of file, label and confidence with tabs between them.",
        epilog="Exit status: 0 all were classified, 1 some were not, 2 nothing could be.",
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="a picture, a folder of pictures, or - for standard input"
    )
    parser.add_argument("-r", "--recursive", action="store_true", help="look into the folders in a folder too")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="write what /predict answers, one JSON object a line, with 'file'"
    )
    form.add_argument(
        "--top", metavar="K", type=_positive, default=1, help="show the K most probable classes (default: 1)"
    )
    parser.add_argument(
        "--version", metavar="N", type=_positive, help="version to use (default: the highest valid one)"
    )
    add_flags(parser, SETTINGS)
    # argparse forgets at the second look for files between flags that "--" came before a name.
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    given = parser.parse_intermixed_args(list(arguments[:end]))
    given.files += arguments[end + 1 :]
    if not given.files:
        parser.error("no FILE is named")
    return given


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def _prepare_streams() -> None:
    # Whoever reads may have had enough (| head): that ends the process without a word, as it ends cat.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if not isinstance(sys.stdout, io.TextIOWrapper):
        raise UsageError("standard output is closed; send the answers to a terminal, a file or a pipe.")
    # Names of files are bytes, which come out as they came in.
    sys.stdout.reconfigure(encoding=sys.getfilesystemencoding(), errors="surrogateescape")
    logging.basicConfig(format="serving: %(message)s", level=logging.WARNING)


def _form(
    given: argparse.Namespace, classifier: Classifier, files: Sequence[PictureFile]
) -> Callable[[str, Prediction], str]:
    """Choose how answers are written; a table begins with the model that answers."""
    if given.json:
        return json_line
    if not sys.stdout.isatty():
        return partial(tab_separated, top=given.top)
    metadata = classifier.metadata
    names = [file.name for file in files]
    table = Table(names, metadata.class_names, given.top, shutil.get_terminal_size().columns)
    accuracy = f"right for {metadata.eval_accuracy:.2%} of {metadata.eval_pictures} {metadata.eval_split} pictures"
    _write(f"{classifier.name} version {classifier.version}, {accuracy}\n\n{table.heading}")
    return table.rows


def _classify(
    classifier: Classifier, files: Sequence[PictureFile], settings: Settings
) -> Iterator[tuple[PictureFile, Prediction | Exception]]:
    """Yield each file's answer, or why it has none, in order; raises UsageError when the model cannot be run."""
    decode = partial(_decode, size=classifier.picture_size, max_pixels=settings.max_pixels)
    batches = (files[first : first + BATCH] for first in range(0, len(files), BATCH))
    decoding: deque[tuple[Sequence[PictureFile], AsyncResult[list[Decoded]]]] = deque()
    # Its threads are daemons: one that waits for a pipe nobody writes to does not hold up the end.
    with ThreadPool(settings.inference_threads) as threads:
        while True:
            for batch in islice(batches, 1 + BATCHES_AHEAD - len(decoding)):
                decoding.append((batch, threads.map_async(decode, batch, chunksize=1)))
            if not decoding:
                return
            batch, decoded = decoding.popleft()
            yield from zip(batch, _answers(classifier, decoded.get()), strict=True)


def _decode(file: PictureFile, size: tuple[int, int], max_pixels: int) -> Decoded:
    try:
        return decode_picture(file.read(), size, max_pixels)
    except (UnreadableFile, UnreadableType, BrokenPicture, TooManyPixels) as error:
        return error


def _answers(classifier: Classifier, decoded: Sequence[Decoded]) -> Iterator[Prediction | Exception]:
    pictures = [picture for picture in decoded if not isinstance(picture, Exception)]
    try:
        answers = iter(classifier.classify(np.stack(pictures)) if pictures else [])
    except InferenceFailed as error:
        raise UsageError(str(error)) from error
    return (picture if isinstance(picture, Exception) else next(answers) for picture in decoded)


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Else Python tries, and complains, once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(f"standard output cannot be written: {error.strerror}.") from None
