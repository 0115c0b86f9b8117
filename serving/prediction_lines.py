"""Answers for files as lines of text: JSON, tab-separated, or a table for a terminal."""

import json
import os
import unicodedata
from collections.abc import Sequence

from serving.predictions import Prediction

# Tabs, line ends and the backslash itself are written as in PostgreSQL's text format.
TAB_SEPARATED_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
CONFIDENCE_WIDTH = 10
JOINERS = "\u200c\u200d"  # within Persian words, and emoji of several
GAP = "  "


def json_line(name: str, answer: Prediction) -> str:
    """Return POST /predict's answer as one line, with the file's name before it.

    The name is ASCII; a byte of it that is not UTF-8 is a lone surrogate (PEP 383), which Python reads back.
    """
    return f'{{"file":{json.dumps(name)},{answer.model_dump_json()[1:]}\n'


def tab_separated(name: str, answer: Prediction, top: int) -> str:
    """Return a line of file, label and confidence (0 to 1) for each of the ``top`` most probable classes."""
    escaped = name.translate(TAB_SEPARATED_ESCAPES)
    return "".join(
        f"{escaped}\t{label.translate(TAB_SEPARATED_ESCAPES)}\t{confidence:.6f}\n"
        for label, confidence in answer.most_probable(top)
    )


def printable(name: str) -> str:
    r"""Escape what a terminal would obey or could not show: control characters, line ends, bytes that are no text."""
    named = os.fsencode(name).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() or c in JOINERS else c.encode("unicode_escape").decode() for c in named)


class Table:
    """Aligned columns: file, label, confidence. A file's further classes stand below its first."""

    def __init__(self, names: Sequence[str], class_names: Sequence[str], top: int, line_width: int) -> None:
        """``names`` and ``class_names`` are all that may come.

        Names of files too long for a line lose their start, those of classes too long for half of it their end.
        """
        self._top = top
        longest = max(_width(printable(label)) for label in ("label", *class_names))
        self._label_width = min(longest, max(line_width // 2, 16))
        room = line_width - self._label_width - CONFIDENCE_WIDTH - 2 * len(GAP)
        self._file_width = min(max(_width(printable(name)) for name in ("file", *names)), max(room, 16))

    @property
    def heading(self) -> str:
        return self._row("file", "label", "confidence")

    def rows(self, name: str, answer: Prediction) -> str:
        """Return a line for each of the most probable classes."""
        files = [_shortened(printable(name), self._file_width)]
        rows = ""
        for label, confidence in answer.most_probable(self._top):
            shown = _shortened(printable(label)[::-1], self._label_width)[::-1]
            rows += self._row(files.pop() if files else "", shown, f"{100 * confidence:.1f} %")
        return rows

    def _row(self, file: str, label: str, confidence: str) -> str:
        columns = (_padded(file, self._file_width), _padded(label, self._label_width))
        return GAP.join((*columns, confidence.rjust(CONFIDENCE_WIDTH))) + "\n"


def _width(text: str) -> int:
    """Count a terminal's cells: two for wide East Asian characters and emoji, none for combining and joining ones."""
    return sum(
        0
        if unicodedata.category(c) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(c) in ("W", "F")
        else 1
        for c in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _shortened(text: str, width: int) -> str:
    """Keep the end, which tells files of one folder apart."""
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[1:]
    return "…" + text
