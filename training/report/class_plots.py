"""Figures about classes: accuracy of each, who is taken for whom, confidence and accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from training.report.calibration import BINS, Calibration
from training.report.confusion import ClassResult, Confusion
from training.report.figures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    ROW,
    SHOWN_CLASSES,
    TEXT,
    WIDE,
    WIDTH,
    drawn,
    grid,
    shortened,
)

_NUMBERED_CLASSES = 20  # a larger matrix has no numbers
_NARROW_CLASSES = 12  # a larger matrix takes both columns
_LABELLED_CLASSES = 40  # a larger matrix names some of its classes
_DIGIT = 0.6  # of the font size: a digit's width
_MATRIX = 0.72  # of the figure's width: what the names leave to the cells


def extremes(results: Sequence[ClassResult]) -> tuple[list[ClassResult], bool]:
    """Classes with pictures, best first; of many the best and the worst. Also says whether some were left out."""
    ordered = sorted((result for result in results if result.pictures), key=lambda result: -result.accuracy)
    if len(ordered) <= SHOWN_CLASSES:
        return ordered, False
    return ordered[: SHOWN_CLASSES // 2] + ordered[-(SHOWN_CLASSES // 2) :], True


def accuracy_bars(name: str, alternative: str, results: Sequence[ClassResult], gap: bool) -> Markup:
    """One bar a class, in their order; `gap`: between the upper and the lower half others were left out."""
    places = np.arange(len(results), dtype=float)
    if gap:
        places[len(results) // 2 :] += 1

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        bars = axes.barh(places, [result.accuracy for result in results], height=0.66, color=BLUE)
        axes.bar_label(bars, [f"{100 * result.accuracy:.1f} %" for result in results], padding=4)
        axes.set_yticks(places, [shortened(result.name) for result in results])
        axes.set_xticks([])
        axes.set_xlim(0, 1.2)  # room for the number beside a full bar
        axes.set_ylim(places[-1] + 0.6, -0.6)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
        if gap:
            axes.annotate("⋯", (0, len(results) // 2), va="center")

    return drawn(name, alternative, max(60.0, ROW * (places[-1] + 1) + 12), draw)


def is_wide(confusion: Confusion) -> bool:
    """Whether the matrix takes both columns."""
    return len(confusion.class_names) > _NARROW_CLASSES


def is_numbered(confusion: Confusion) -> bool:
    """Whether there is room for numbers in the matrix."""
    classes, digits = len(confusion.class_names), len(f"{confusion.counts.max()}")
    cell = _MATRIX * _matrix_width(confusion) / classes
    return classes <= _NUMBERED_CLASSES and digits * _DIGIT * TEXT <= cell


def _matrix_width(confusion: Confusion) -> float:
    return WIDE if is_wide(confusion) else WIDTH


def confusion_matrix(name: str, alternative: str, confusion: Confusion) -> Markup:
    """Colour is the share of a row; numbers count pictures, where there is room for them."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        shares = np.nan_to_num(confusion.shares())
        axes.imshow(_shaded(shares), interpolation="none", aspect="auto")
        _label_classes(axes, confusion.class_names)
        axes.set_ylabel("what it is")
        axes.set_xlabel("what it is taken for")
        axes.spines[:].set_visible(False)
        if is_numbered(confusion):
            _number(axes, confusion.counts, shares)

    return drawn(name, alternative, _matrix_width(confusion) * 0.94, draw, _matrix_width(confusion))


def reliability(name: str, alternative: str, calibration: Calibration) -> Markup:
    """Accuracy in each bin of confidence, and under it how many pictures fall into the bin."""
    middles = (np.arange(BINS) + 0.5) / BINS

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.bar(middles, np.nan_to_num(calibration.accuracy), width=0.92 / BINS, color=BLUE)
        upper.plot([0, 1], [0, 1], color=ORANGE, linestyle=(0, (4, 3)))
        upper.set_ylim(0, 1.02)
        upper.set_title("share that is right", loc="left")
        lower.bar(middles, calibration.pictures, width=0.92 / BINS, color=GREY)
        lower.set_title("pictures", loc="left")
        lower.set_xlabel("confidence")
        lower.set_xlim(0, 1)
        lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        lower.locator_params(axis="y", nbins=3)
        for axes in (upper, lower):
            grid(axes, "y")
            axes.spines["left"].set_visible(False)
        for axis in (upper.yaxis, lower.xaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))

    return drawn(name, alternative, 360.0, draw)


def _shaded(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    """uint8 [classes, classes, 4]: one colour, the more of it the greater the share, on whatever is behind."""
    colour = [int(BLUE[start : start + 2], 16) for start in (1, 3, 5)]
    pixels = np.empty((*shares.shape, 4), np.uint8)
    pixels[..., :3] = colour
    # The root lets the rare mistakes be seen beside the diagonal; a trace of colour shows where the matrix ends.
    pixels[..., 3] = np.rint(255 * (0.05 + 0.95 * np.sqrt(shares)))
    return pixels


def _label_classes(axes: Axes, class_names: Sequence[str]) -> None:
    classes = len(class_names)
    step = -(-classes // _LABELLED_CLASSES)
    places = range(0, classes, step)
    labels = [shortened(class_names[place], 14) for place in places]
    axes.set_yticks(places, labels)
    axes.set_xticks(places, labels, rotation=90)
    axes.tick_params(length=0)


def _number(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.75 else INK
            axes.text(column, row, str(count), ha="center", va="center_baseline", color=color)
