"""The page in which runs are side by side."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.report.class_dots import accuracy_dots
from training.report.comparison import ComparedRun, Comparison
from training.report.curves import Axis, Curve, curves
from training.report.figures import SERIES, SHOWN_CLASSES
from training.report.history import Values
from training.report.numbers import percent
from training.report.page import write_page
from training.report.training_curves import Illustration, Key

_DASHES = {"solid": "-", "dashed": "--", "dotted": ":"}  # CSS's word, matplotlib's sign
_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


class Series(NamedTuple):
    """How one run is drawn, in every figure."""

    run: ComparedRun
    color: str
    line: str

    def key(self) -> Key:
        return Key(self.color, self.run.label, self.line)

    def curve(self, x: Values, y: Values, *, dotted: bool = False) -> Curve:
        return Curve(x, y, self.color, dotted=dotted, dashes=_DASHES[self.line])


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Raises UserError where the page can't be written."""
    styles = ((color, line) for line in cycle(_DASHES) for color in SERIES)
    series = [Series(run, *style) for run, style in zip(comparison.runs, styles, strict=False)]
    figures = [_accuracy(series), _accuracy_over_time(series), _loss(series), _classes(series)]
    content = {
        "comparison": comparison,
        "illustrations": [figure for figure in figures if figure],
        "silent": [run.label for run in comparison.runs if not run.history.trained],
    }
    return write_page(path, "comparison.html", content)


def _accuracy(series: list[Series]) -> Illustration | None:
    measured = [(each, *_evaluations(each.run)) for each in series]
    measured = [(each, steps, shares) for each, steps, shares in measured if len(steps)]
    if not measured:
        return None
    svg = curves(
        "accuracy",
        f"Line chart. Last accuracy: {_last(measured)}.",
        [each.curve(steps, shares, dotted=True) for each, steps, shares in measured],
        Axis("steps"),
        Axis("test pictures recognized", percent=True),
    )
    keys = tuple(each.key() for each, *_ in measured)
    return Illustration("Accuracy over steps", svg, "Precision @ 1 on the test pictures.", keys)


def _accuracy_over_time(series: list[Series]) -> Illustration | None:
    timed = []
    for each in series:
        history, (steps, shares) = each.run.history, _evaluations(each.run)
        if len(steps) and history.trained:
            seconds = np.interp(steps, history.steps(), history.seconds(each.run.batch_size))
            timed.append((each, seconds, shares))
    if not timed:
        return None
    longest = max(float(seconds[-1]) for _, seconds, _ in timed)
    unit, length = next(found for found in _UNITS if longest >= 2 * found[1] or found[1] == 1)
    svg = curves(
        "accuracy-over-time",
        f"Line chart over the time spent training, up to {longest / length:.1f} {unit}. Last accuracy: {_last(timed)}.",
        [each.curve(seconds / length, shares, dotted=True) for each, seconds, shares in timed],
        Axis(f"{unit} of training"),
        Axis("test pictures recognized", percent=True),
    )
    caption = "Time as the speed of training tells it, evaluations on the way included."
    return Illustration("Accuracy over time", svg, caption, tuple(each.key() for each, *_ in timed))


def _loss(series: list[Series]) -> Illustration | None:
    trained = [
        (each, each.run.history.steps(), each.run.history.values("averaged_losses", "total_loss"))
        for each in series
        if each.run.history.trained
    ]
    if not trained:
        return None
    last = ", ".join(f"{each.run.label} {losses[-1]:.2f}" for each, _, losses in trained)
    svg = curves(
        "loss",
        f"Line chart. Last averaged loss: {last}.",
        [each.curve(steps, losses) for each, steps, losses in trained],
        Axis("steps"),
        Axis("total loss, moving average", from_zero=True),
    )
    caption = "Of the training pictures, weight decay included: recipes that weigh it differently differ here too."
    return Illustration("Loss over steps", svg, caption, tuple(each.key() for each, *_ in trained))


def _classes(series: list[Series]) -> Illustration | None:
    measured = [(each, (each.run.evaluation or {}).get("per_class") or {}) for each in series]
    measured = [(each, shares) for each, shares in measured if shares]
    names = list(dict.fromkeys(name for _, shares in measured for name in shares))
    if not names:
        return None
    table = np.array([[shares.get(name, np.nan) for name in names] for _, shares in measured], np.float64)
    order = np.argsort(-np.nanmean(table, axis=0), kind="stable")
    caption = "Each run's newest evaluation."
    if len(names) > SHOWN_CLASSES:
        spread = np.nanmax(table, axis=0) - np.nanmin(table, axis=0)
        widest = set(islice(np.argsort(-spread, kind="stable").tolist(), SHOWN_CLASSES))
        order = np.array([place for place in order.tolist() if place in widest])
        caption += f" Of {len(names):,} classes the {SHOWN_CLASSES} in which the runs differ most."
    svg = accuracy_dots(
        "classes",
        f"Dot plot of {len(order)} classes, from {names[order[0]]} to {names[order[-1]]}.",
        [names[place] for place in order],
        [(table[row, order], each.color) for row, (each, _) in enumerate(measured)],
    )
    keys = tuple(Key(each.color, each.run.label) for each, _ in measured)
    return Illustration("Accuracy of each class", svg, caption, keys)


def _evaluations(run: ComparedRun) -> tuple[Values, Values]:
    """Steps and precisions, float64 [E] each; of a run without a history its newest evaluation, if any."""
    found = list(run.history.evaluated)
    if not found and run.evaluation and "step" in run.evaluation:
        found = [run.evaluation]
    steps = np.array([each["step"] for each in found], np.float64)
    return steps, np.array([each["precision_at_1"] for each in found], np.float64)


def _last(measured: list[tuple[Series, Values, Values]]) -> str:
    return ", ".join(f"{each.run.label} {percent(shares[-1])}" for each, _, shares in measured)
