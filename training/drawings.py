"""The ten kinds of drawing of the built-in set, as geometry: signed distances in pixels, negative where there is ink.

Arithmetic is +, -, *, / and sqrt alone, so that every machine draws the same; see synthetic.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIDE = 32  # pixels
PIXEL_CENTRES: Floats = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2


class Frame(NamedTuple):
    """Where and how drawings of one class are made, N of them."""

    x: Floats
    """[N, 32, 32]: pixels to the right of the drawing's centre."""
    y: Floats
    """[N, 32, 32]: pixels below it."""
    radius: Floats
    """[N, 1, 1], pixels."""
    stroke: Floats
    """[N, 1, 1]: the width of an outline in pixels."""
    outlined: NDArray[np.bool_]
    """[N, 1, 1]: an outline, where the class leaves the choice."""


def turned(centre: Floats, half_turn: Floats) -> tuple[Floats, Floats]:
    """Each pixel's x and y [N, 32, 32] about `centre` [2, N], turned by the angle whose half has the tangent
    `half_turn` [N], which gives its sine and cosine without calling either."""
    square = half_turn * half_turn
    cosine = ((1 - square) / (1 + square))[:, None, None]
    sine = (2 * half_turn / (1 + square))[:, None, None]
    x = PIXEL_CENTRES - centre[0, :, None, None]
    y = PIXEL_CENTRES[:, None] - centre[1, :, None, None]
    return cosine * x + sine * y, cosine * y - sine * x


def _filled_or_outlined(distance: Floats, frame: Frame) -> Floats:
    return np.where(frame.outlined, np.maximum(distance, -distance - frame.stroke), distance)


def _disc(frame: Frame) -> Floats:
    return np.sqrt(frame.x * frame.x + frame.y * frame.y) - frame.radius


def _ring(frame: Frame) -> Floats:
    disc = _disc(frame)
    ring: Floats = np.maximum(disc, -disc - frame.stroke)
    return ring


def _square(frame: Frame) -> Floats:
    square = np.maximum(np.abs(frame.x), np.abs(frame.y)) - 0.85 * frame.radius
    return _filled_or_outlined(square, frame)


def _triangle(frame: Frame) -> Floats:
    flanks = 0.8660254 * np.abs(frame.x) - 0.5 * frame.y
    return _filled_or_outlined(np.maximum(flanks, frame.y) - 0.55 * frame.radius, frame)


def _cross(frame: Frame) -> Floats:
    x, y, arm = np.abs(frame.x), np.abs(frame.y), 0.3 * frame.radius
    across = np.maximum(x - frame.radius, y - arm)
    upright = np.maximum(x - arm, y - frame.radius)
    return _filled_or_outlined(np.minimum(across, upright), frame)


def _star(frame: Frame) -> Floats:
    # A pentagram is every point that lies beyond at most one of the five lines its tips are joined by.
    furthest = np.full_like(frame.x, -np.inf)
    second = furthest
    for normal_x, normal_y in _STAR_NORMALS:
        beyond = normal_x * frame.x + normal_y * frame.y
        second = np.maximum(second, np.minimum(furthest, beyond))
        furthest = np.maximum(furthest, beyond)
    return _filled_or_outlined(second - 0.36 * frame.radius, frame)


def _stripes(across: Floats, period: Floats) -> Floats:
    phase = across / period
    stripes: Floats = (np.abs(phase - np.floor(phase) - 0.5) - 0.25) * period
    return stripes


def _horizontal_stripes(frame: Frame) -> Floats:
    return _stripes(frame.y, 0.8 * frame.radius)


def _vertical_stripes(frame: Frame) -> Floats:
    return _stripes(frame.x, 0.8 * frame.radius)


def _diagonal_stripes(frame: Frame) -> Floats:
    # Which way they lean is no part of the class: a mirrored picture leans the other way.
    lean: Floats = np.where(frame.outlined, frame.y, -frame.y)
    return _stripes((frame.x + lean) * 0.70710678, 0.8 * frame.radius)


def _checkerboard(frame: Frame) -> Floats:
    period = 1.12 * frame.radius
    rows, columns = _stripes(frame.y, period), _stripes(frame.x, period)
    return np.maximum(np.minimum(rows, -columns), np.minimum(-rows, columns))


# Unit normals of a pentagon's sides, 72 degrees apart, the first pointing down so that one tip points up.
_STAR_NORMALS = (
    (0.0, 1.0),
    (0.95105652, 0.30901699),
    (0.58778525, -0.80901699),
    (-0.58778525, -0.80901699),
    (-0.95105652, 0.30901699),
)

DRAWINGS: dict[str, Callable[[Frame], Floats]] = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "horizontal stripes": _horizontal_stripes,
    "vertical stripes": _vertical_stripes,
    "diagonal stripes": _diagonal_stripes,
    "checkerboard": _checkerboard,
}
