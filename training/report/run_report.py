"""RUN/report.html: one page in which a run explains itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from training.dataset import Dataset
from training.evaluation import averaged_network, newest_checkpoint
from training.network import Network
from training.report import reproduction
from training.report.calibration import calibration
from training.report.class_plots import accuracy_bars, confusion_matrix, extremes, is_numbered, is_wide, reliability
from training.report.confusion import Confusion, confusion
from training.report.description import described
from training.report.history import History
from training.report.numbers import MISSING, count, duration, moment, percent, speed, wilson_interval
from training.report.page import write_page
from training.report.pictures import filters_picture, stored_picture
from training.report.predictions import Predictions, predictions
from training.report.settings import flattened, settings
from training.report.training_curves import Illustration, training_curves
from training.run_directory import RunDirectory

NAME = "report.html"
MISTAKES = 24
PAIRS = 8


class Mistake(NamedTuple):
    position: int
    """In the test split."""
    picture: str
    """A data URI."""
    name: str
    taken_for: str
    confidence: float


def write_report(run_dir: RunDirectory, dataset: Dataset, device: torch.device) -> Path:
    """Evaluates the run's newest checkpoint on the test split of `dataset`, and writes the page; returns its path.

    The same run gives the same bytes. Raises UserError where nothing has been trained, where there is no sound
    checkpoint, or where the page can't be written.
    """
    description, history = described(run_dir), History.read(run_dir.path)
    checkpoint, state = newest_checkpoint(run_dir)
    network = averaged_network(state, len(dataset.class_names), device)
    found = predictions(network, dataset, device)
    content = {
        **_summary(description, dataset, history, found, checkpoint.step),
        "curves": training_curves(history),
        "has_history": bool(history.trained),
        **_classes(confusion(found)),
        **_calibration(found),
        "temperature": found.temperature,
        "mistakes": _mistakes(found, dataset),
        "picture_side": dataset.test.images.shape[-1],
        "filters": filters_picture(network.first_filters().detach()),
        "filters_are": _first_layer(network),
        **_recipe(description, history, dataset),
    }
    return write_page(run_dir.path / NAME, "report.html", content)


def _first_layer(network: Network) -> str:
    filters, _, height, width = network.first_filters().shape
    return f"{filters} filters of {next(iter(network.layers()))}, {height}x{width}"


def _summary(
    description: dict[str, Any], dataset: Dataset, history: History, found: Predictions, step: int
) -> dict[str, Any]:
    recipe = description["recipe"]
    middle = history.median_speed()
    spent = history.seconds_in_all(recipe["batch_size"])
    ended = history.last_time() or description.get("started")
    return {
        "recipe_name": recipe["name"],
        "dataset": dataset.name,
        "accuracy": found.correct / len(found),
        "correct": found.correct,
        "pictures": len(found),
        "interval": wilson_interval(found.correct, len(found)),
        "step": step,
        "steps": recipe["steps"],
        "facts": [
            ("Steps", count(step) if step >= recipe["steps"] else f"{count(step)} of {count(recipe['steps'])}"),
            ("Pictures an update", count(recipe["batch_size"])),
            ("Time spent training", duration(spent) if spent is not None else MISSING),
            ("Pictures a second", speed(middle) if middle is not None else MISSING),
            ("Device", description.get("device", MISSING)),
            ("Precision", description.get("precision", MISSING)),
            ("Trained", moment(ended) if ended else MISSING),
        ],
    }


def _classes(found: Confusion) -> dict[str, Any]:
    results = found.classes()
    shown, gap = extremes(results)
    best, worst = shown[0], shown[-1]
    bars = accuracy_bars(
        "classes",
        f"Bar chart: from {best.name}, {percent(best.accuracy, 1)}, to {worst.name}, {percent(worst.accuracy, 1)}.",
        shown,
        gap,
    )
    matrix = confusion_matrix(
        "confusion",
        f"Confusion matrix of {len(results)} classes; the pairs confused most often are in the table.",
        found,
    )
    which = (
        f"The {len(shown) // 2} best and the {len(shown) // 2} worst of {count(len(results))} classes. " if gap else ""
    )
    pairs = found.pairs(PAIRS)
    return {
        "bars": Illustration(
            "Accuracy of each class", bars, f"{which}The share of a class's pictures that is recognized."
        ),
        "matrix": Illustration(
            "Who is taken for whom",
            matrix,
            "Each row is a class; the stronger a cell, the larger its share of the row."
            + (" Numbers count pictures." if is_numbered(found) else ""),
        ),
        "matrix_is_wide": is_wide(found),
        "results": results,
        "pairs": pairs,
    }


def _calibration(found: Predictions) -> dict[str, Any]:
    measured = calibration(found)
    svg = reliability("calibration", f"Reliability diagram. {measured.sentence()}", measured)
    return {
        "calibration": Illustration(
            "Confidence and accuracy",
            svg,
            "Bars: how many of the answers given with that confidence are right. On the dashed line they would be as "
            "often right as they claim. Below: how many answers had that confidence.",
        ),
        "calibration_sentence": measured.sentence(),
        "calibration_error": measured.error,
    }


def _mistakes(found: Predictions, dataset: Dataset) -> list[Mistake]:
    labels, predicted, sure = found.labels.tolist(), found.predicted.tolist(), found.confidence.tolist()
    names = found.class_names
    return [
        Mistake(at, stored_picture(dataset.test.images[at]), names[labels[at]], names[predicted[at]], sure[at])
        for at in found.most_confident_mistakes(MISTAKES)
    ]


def _recipe(description: dict[str, Any], history: History, dataset: Dataset) -> dict[str, Any]:
    sessions = history.starts
    kinds = {
        tuple(session.get(key) for key in ("source_revision", "device", "world_size", "precision"))
        for session in sessions
    }
    return {
        "recipe": list(flattened(description["recipe"]).items()),
        "settings": settings(description),
        "data": [
            ("training pictures", count(len(dataset.train))),
            ("their SHA-256", dataset.train.sha256()),
            ("test pictures", count(len(dataset.test))),
            ("their SHA-256", dataset.test.sha256()),
        ],
        "libraries": list(description.get("libraries", {}).items()),
        "sessions": sessions,
        "sessions_differ": len(kinds) > 1,
        "preparation": reproduction.preparation(description),
        "command": reproduction.command(description),
        "reservations": reproduction.reservations(description),
    }
