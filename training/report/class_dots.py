"""The accuracies of classes in several runs. (No torchmetrics, nor PyTorch: a comparison starts quickly.)"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from training.report.figures import ROW, drawn, grid, shortened

_MARKERS = "osD^vP"  # beside their colours, the dots of different runs have different shapes


def accuracy_dots(
    name: str, alternative: str, class_names: Sequence[str], runs: Sequence[tuple[NDArray[np.float64], str]]
) -> Markup:
    """A row a class, in which each run, float64 [classes] and a colour, has a dot; NaN has none."""
    places = np.arange(len(class_names))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for position, (shares, color) in enumerate(runs):
            marker = _MARKERS[position % len(_MARKERS)]
            axes.plot(shares, places, marker, color=color, markersize=6.5, alpha=0.9, clip_on=False)
        axes.set_yticks(places, [shortened(class_name) for class_name in class_names])
        axes.set_ylim(len(class_names) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
        axes.locator_params(axis="x", nbins=5)
        grid(axes, "both")
        axes.spines["left"].set_visible(False)

    return drawn(name, alternative, ROW * len(class_names) + 40, draw)
