"""Lines over steps or time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from training.report.figures import BLUE, GREY, ORANGE, drawn, grid
from training.report.history import Values, thinned

_HEIGHT = 240.0
_LEAST_STEPS, _LEAST_SHARE = 2.0, 0.02  # from one end of an axis to the other
_FEW = 6  # changes of the learning rate that can be named in a figure


@dataclass(frozen=True, eq=False)
class Curve:
    x: Values
    y: Values
    color: str = BLUE
    faint: bool = False
    dotted: bool = False  # points that were measured, and the line between them
    dashes: str = "-"


@dataclass(frozen=True)
class Axis:
    label: str
    percent: bool = False
    from_zero: bool = False


def curves(
    name: str,
    alternative: str,
    lines: Sequence[Curve],
    x: Axis,
    y: Axis,
    *,
    marks: Sequence[tuple[float, str]] = (),
    level: float | None = None,
) -> Markup:
    """`marks` are events at an x, with what to call them; `level` is one y, drawn across."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for line in lines:
            _draw(axes, line)
        if level is not None:
            axes.axhline(level, color=ORANGE, linewidth=1.4)
        _prepare(axes, x, y)
        _mark(axes, marks)

    return drawn(name, alternative, _HEIGHT, draw)


def stack(
    name: str, alternative: str, x_values: Values, parts: Sequence[tuple[Values, str]], x: Axis, y: Axis
) -> Markup:
    """Areas on top of each other, the first at the bottom, with their colours."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        layers = [thinned(values) for values, _ in parts]
        axes.stackplot(thinned(x_values), *layers, colors=[color for _, color in parts], alpha=0.75, linewidth=0)
        if len(x_values) == 1:  # an area needs two points
            bottom = 0.0
            for values, color in parts:
                axes.bar(x_values, values, bottom=bottom, color=color, alpha=0.75, width=1)
                bottom += float(values[0])
        _prepare(axes, x, y)

    return drawn(name, alternative, _HEIGHT, draw)


def _draw(axes: Axes, line: Curve) -> None:
    x, y = thinned(line.x), thinned(line.y)
    alone = len(x) == 1
    axes.plot(
        x,
        y,
        line.dashes,
        color=line.color,
        alpha=0.55 if line.faint else None,
        linewidth=1.0 if line.faint else 1.6,
        marker="o" if line.dotted or alone else None,
        markersize=4.5,
        clip_on=not line.dotted,
    )


def _prepare(axes: Axes, x: Axis, y: Axis) -> None:
    grid(axes, "y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(x.label)
    axes.set_title(y.label, loc="left")
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent if y.percent else _plain))
    axes.set_xlim(*_at_least(_LEAST_STEPS, *axes.get_xlim()))
    if y.percent:
        axes.set_ylim(*_at_least(_LEAST_SHARE, *axes.get_ylim()))
    if y.from_zero:
        axes.set_ylim(bottom=0)


def _at_least(span: float, low: float, high: float) -> tuple[float, float]:
    """The limits of an axis, moved apart where a single point would be all that is between them."""
    missing = max(0.0, span - (high - low))
    return low - missing / 2, high + missing / 2


def _mark(axes: Axes, marks: Sequence[tuple[float, str]]) -> None:
    named = len(marks) <= _FEW
    for position, label in marks:
        axes.axvline(position, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        if named:
            place = axes.get_xaxis_transform()
            axes.annotate(
                label, (position, 1), xycoords=place, xytext=(-3, -4), textcoords="offset points", ha="right", va="top"
            )


def _plain(value: float, _: int | None) -> str:
    return f"{value:,.10g}"


def _percent(value: float, _: int | None) -> str:
    return f"{100 * value:.4g} %"
