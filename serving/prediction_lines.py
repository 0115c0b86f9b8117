"""Answers for files as lines of text: JSON, tab-separated, or a table for a terminal."""

import json
import os
import unicodedata
from collections.abc import Sequence

from serving.predictions import Prediction

# Tabs, line ends and the backslash itself are written as in PostgreSQL's text format.
TAB_SEPARATED_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
CONFIDENCE_WIDTH = 10
GAP = "  "


def json_line(name: str, answer: Prediction) -> str:
    """Return POST /predict's answer as one line, with the file's name before it.

    The name is ASCII; a byte of it that is not UTF-8 is a lone surrogate (PEP 383), which Python reads back.
    """
    return f'{{"file":{json.dumps(name)},{answer.model_dump_json()[1:]}\n'


def tab_separated(name: str, answer: Prediction, top: int) -> str:
    """Return a line of file, label and confidence (0 to 1) for each of the ``top`` most probable classes."""
    escaped = name.translate(TAB_SEPARATED_ESCAPES)
    return "".join(f"{escaped}\t{label}\t{confidence:.6f}\n" for label, confidence in _most_probable(answer, top))


def printable(name: str) -> str:
    r"""Escape what a terminal would obey or could not show: control characters, line ends, bytes that are no text."""
    named = os.fsencode(name).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in named)


class Table:
    """Aligned columns: file, label, confidence. A file's further classes stand below its first."""

    def __init__(self, names: Sequence[str], class_names: Sequence[str], top: int, line_width: int) -> None:
        """``names`` and ``class_names`` are all that may come; names of files too long for a line lose their start."""
        self._top = top
        self._label_width = max(_width(label) for label in ("label", *class_names))
        room = line_width - self._label_width - CONFIDENCE_WIDTH - 2 * len(GAP)
        self._file_width = min(max(_width(printable(name)) for name in ("file", *names)), max(room, 16))

    @property
    def heading(self) -> str:
        return self._row("file", "label", "confidence")

    def rows(self, name: str, answer: Prediction) -> str:
        """Return a line for each of the most probable classes."""
        files = [_shortened(printable(name), self._file_width)]
        rows = ""
        for label, confidence in _most_probable(answer, self._top):
            rows += self._row(files.pop() if files else "", label, f"{100 * confidence:.1f} %")
        return rows

    def _row(self, file: str, label: str, confidence: str) -> str:
        columns = (_padded(file, self._file_width), _padded(label, self._label_width))
        return GAP.join((*columns, confidence.rjust(CONFIDENCE_WIDTH))) + "\n"


def _most_probable(answer: Prediction, count: int) -> list[tuple[str, float]]:
    return sorted(answer.probabilities.items(), key=lambda item: -item[1])[:count]


def _width(text: str) -> int:
    """Count a terminal's cells: two for wide East Asian characters and emoji, none for combining ones."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
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
