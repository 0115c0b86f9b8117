"""How a figure that was measured several times is written down."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float], digits: str) -> str:
    """Median, least and greatest, with the format `digits`: "61.32 (60.88 to 63.01)"."""
    if not values:
        return "not measured"
    return f"{statistics.median(values):{digits}} ({min(values):{digits}} to {max(values):{digits}})"
