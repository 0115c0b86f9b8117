"""A curve in a few lines of text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def curve(values: Sequence[float], width: int, height: int) -> list[str]:
    """`height` lines of up to `width` characters, from the least value (empty) to the greatest (full).

    Where there are more values than characters, each character is the mean of its share of them.
    """
    columns = min(width, len(values))
    edges = [len(values) * column // columns for column in range(columns + 1)] if columns else [0]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    least, greatest = min(means, default=0.0), max(means, default=0.0)
    span = greatest - least or 1.0
    levels = [1 + round((mean - least) / span * (height * 8 - 1)) for mean in means]  # at least a line at the bottom
    return ["".join(_EIGHTHS[min(max(level - 8 * row, 0), 8)] for level in levels) for row in reversed(range(height))]
