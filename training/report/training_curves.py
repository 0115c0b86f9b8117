"""The figures that show how a run went, from its history."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from training.report.curves import Axis, Curve, curves, stack
from training.report.figures import BLUE, GREEN, ORANGE
from training.report.history import History, Values
from training.report.numbers import count, percent, speed


class Key(NamedTuple):
    """One entry of a figure's legend."""

    color: str
    text: str
    line: str = ""
    """How the line is drawn, in CSS's words; empty: an area."""


class Illustration(NamedTuple):
    """A figure and the words around it."""

    title: str
    svg: Markup
    caption: str
    keys: tuple[Key, ...] = ()


_STEPS = Axis("steps")


def training_curves(history: History) -> list[Illustration]:
    """Loss, its terms, accuracy and speed over steps, as far as they were measured."""
    made = []
    if history.trained:
        made += [_loss(history), *_terms(history)]
    if history.evaluated:
        made.append(_accuracy(history))
    if history.median_speed() is not None:
        made.append(_speed(history))
    return made


def _loss(history: History) -> Illustration:
    steps = history.steps()
    raw, averaged = history.values("losses", "total_loss"), history.values("averaged_losses", "total_loss")
    lines = [Curve(steps, raw, faint=True), Curve(steps, averaged)]
    rates = history.learning_rates()
    changes = [] if _is_gradual(rates, history) else rates[1:]
    svg = curves(
        "loss",
        f"Line chart: the moving average of the total loss goes from {averaged[0]:.2f} to {averaged[-1]:.2f}.",
        lines,
        _STEPS,
        Axis("total loss", from_zero=True),
        marks=[(step, f"{rate:.3g}") for step, rate in changes],
    )
    return Illustration(
        "Loss",
        svg,
        f"The moving average ends at {averaged[-1]:.3f}.{_rates(rates, changes)}",
        (Key(f"{BLUE}8c", "of a batch", "solid"), Key(BLUE, "moving average", "solid")),
    )


def _is_gradual(rates: list[tuple[int, float]], history: History) -> bool:
    """Whether the learning rate moves all the time, not now and then."""
    return len(rates) - 1 > len(history.trained) / 2


def _rates(rates: list[tuple[int, float]], marked: list[tuple[int, float]]) -> str:
    """A sentence on the learning rate, of whose changes `marked` are drawn."""
    if not rates:
        return ""
    (_, first), (step, last) = rates[0], rates[-1]
    if len(rates) == 1:
        return f" The learning rate is {first:.3g} throughout."
    if not marked:
        return f" The learning rate moves from {first:.3g} to {last:.3g}."
    changes = f"changes {_times(len(marked))}, at the dashed lines"
    return f" The learning rate is {first:.3g} at first and {changes}; from step {count(step)} on it is {last:.3g}."


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _terms(history: History) -> list[Illustration]:
    """Cross-entropy and weight decay, where the history tells them apart."""
    names = [name for name in history.trained[-1].get("averaged_losses", {}) if name.endswith("weight_loss")]
    cross_entropy = history.values("averaged_losses", "cross_entropy")
    if not names or np.isnan(cross_entropy).all():
        return []
    decay: Values = np.sum([history.values("averaged_losses", name) for name in names], axis=0)
    layers = " and ".join(name.partition("/")[0] for name in names)
    svg = stack(
        "terms",
        f"Area chart: at the end the cross-entropy is {cross_entropy[-1]:.2f} and the weight decay's term "
        f"{decay[-1]:.2f}.",
        history.steps(),
        [(cross_entropy, BLUE), (decay, ORANGE)],
        _STEPS,
        Axis("moving averages", from_zero=True),
    )
    caption = f"At the end {cross_entropy[-1]:.3f} and {decay[-1]:.3f}. Weights decay in {layers}."
    return [
        Illustration(
            "What the loss is made of", svg, caption, (Key(BLUE, "cross-entropy"), Key(ORANGE, "weight decay"))
        )
    ]


def _accuracy(history: History) -> Illustration:
    steps = np.array([record["step"] for record in history.evaluated], np.float64)
    shares = np.array([record["precision_at_1"] for record in history.evaluated], np.float64)
    best = int(shares.argmax())
    svg = curves(
        "accuracy",
        f"Line chart: accuracy is {percent(shares[0])} after {count(steps[0])} steps and {percent(shares[-1])} after "
        f"{count(steps[-1])}.",
        [Curve(steps, shares, GREEN, dotted=True)],
        _STEPS,
        Axis("test pictures recognized", percent=True),
    )
    times = _times(len(shares))
    caption = f"Precision @ 1 on the test pictures, evaluated {times}; best {percent(shares[best])} at step "
    return Illustration("Accuracy", svg, f"{caption}{count(steps[best])}.")


def _speed(history: History) -> Illustration:
    middle = history.median_speed()
    assert middle is not None
    speeds = history.values("examples_per_sec")
    svg = curves(
        "speed",
        f"Line chart of the speed; its median is {speed(middle)} pictures a second.",
        [Curve(history.steps(), speeds, faint=True)],
        _STEPS,
        Axis("pictures a second", from_zero=True),
        level=middle,
    )
    caption = f"The line is the median, {speed(middle)} pictures/s. Dips are evaluations, checkpoints and other work."
    return Illustration("Throughput", svg, caption)
