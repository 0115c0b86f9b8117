"""Numbers for people, as the pages write them."""

from __future__ import annotations

import math

MISSING = "\N{EN DASH}"

_SPACE = "\N{NO-BREAK SPACE}"  # between a number and its unit
_NORMAL_95 = 1.959963984540054  # the standard normal's 97.5th percentile


def percent(share: float, decimals: int = 2) -> str:
    """0.8038 -> "80.38 %"."""
    return f"{100 * share:.{decimals}f}{_SPACE}%"


def confidence(probability: float) -> str:
    """0.984 -> "98 %"; what is not quite certain never reads as 100 %."""
    if 0.995 <= probability < 1:
        return percent(min(math.floor(probability * 10_000) / 10_000, 0.9999))
    return percent(probability, 0)


def count(number: float) -> str:
    """60000 -> "60,000"."""
    return f"{number:,.0f}"


def speed(pictures_per_second: float) -> str:
    return f"{pictures_per_second:,.{0 if pictures_per_second >= 100 else 1}f}"


def duration(seconds: float) -> str:
    """Two units at most: "38 s", "33 min 20 s", "1 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f}{_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest}{_SPACE}s"
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours:,}{_SPACE}h {left}{_SPACE}min"
    return f"{minutes}{_SPACE}min {rest}{_SPACE}s"


def moment(time: str) -> str:
    """ISO 8601 -> "2026-11-23 00:24 UTC"; any other text as it is."""
    day, _, clock = time.partition("T")
    return f"{day} {clock[:5]} UTC" if clock.endswith(("+00:00", "Z")) else time


def wilson_interval(correct: int, pictures: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share that was counted on a sample.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927. Unlike the normal
    approximation it stays within 0 and 1 and has a width where all or none are correct.
    """
    share, spread = correct / pictures, _NORMAL_95**2 / pictures
    middle = (share + spread / 2) / (1 + spread)
    half = _NORMAL_95 / (1 + spread) * math.sqrt(share * (1 - share) / pictures + spread / (4 * pictures))
    return max(0.0, middle - half), min(1.0, middle + half)
