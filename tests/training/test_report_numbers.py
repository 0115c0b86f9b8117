"""Numbers as the pages write them."""

from __future__ import annotations

import pytest

from training.report.numbers import confidence, duration, wilson_interval


@pytest.mark.parametrize(
    ("correct", "pictures", "low", "high"),
    [(8_038, 10_000, 0.7959, 0.8115), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_interval(correct: int, pictures: int, low: float, high: float) -> None:
    assert wilson_interval(correct, pictures) == pytest.approx((low, high), abs=5e-5)


def test_numbers_for_people() -> None:
    spoken = [confidence(share).replace("\N{NO-BREAK SPACE}", " ") for share in (0.984, 0.99964, 0.999999, 1.0)]
    assert spoken == ["98 %", "99.96 %", "99.99 %", "100 %"]
    times = [duration(seconds).replace("\N{NO-BREAK SPACE}", " ") for seconds in (3.14, 38, 119.9, 3475, 7322)]
    assert times == ["3.1 s", "38 s", "2 min 0 s", "57 min 55 s", "2 h 2 min"]
