"""One version of a model in memory: uint8 pictures in, answers out."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from serving.bundle import FILE_NAME, Bundle, BundleError, Metadata, Threads, read_bundle, refusal
from serving.predictions import ModelVersion, Prediction
from serving.providers import Provider

OUTPUTS = ["probabilities", "label"]
WARM_UP_BATCHES = (2, 8)
WARM_UP_RUNS = 5  # of each batch, unless they take this long together:
WARM_UP_SECONDS = 0.25
QUICK_SECONDS = 0.002
MAX_BATCH = 32  # pictures; beyond it a CPU gains nothing, and everyone in the batch waits for it
# Nor does anyone gain from a batch that takes longer, which all the others wait for; its memory grows with it.
BATCH_SECONDS = 0.1


Outputs = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Probabilities [N, classes] and labels [N]."""


class InferenceFailed(Exception):
    """The model gave no usable answer; the text says so in one sentence."""


class Classifier:
    """A bundle's session and the words for its answers; safe to call from several threads."""

    def __init__(self, name: str, version: int, bundle: Bundle, provider: Provider) -> None:
        self.name = name
        self.version = version
        self.provider = provider
        self.picture_size = (bundle.height, bundle.width)
        self._session = bundle.session
        self._lone_session = bundle.lone_session
        self._lone_seconds = float("inf")
        self._picture_seconds = 0.0
        self._metadata = bundle.metadata
        self._itself = ModelVersion(name=name, version=version)

    @property
    def metadata(self) -> Metadata:
        return self._metadata

    @property
    def is_quick(self) -> bool:
        """Whether a lone picture takes so little time that an event loop can compute it itself."""
        return self._lone_seconds < QUICK_SECONDS

    @property
    def picture_seconds(self) -> float:
        """How long a picture takes, one of many; 0 before it has been warmed up."""
        return self._picture_seconds

    @property
    def most_at_once(self) -> int:
        """How many pictures a run may have, from 1 to MAX_BATCH."""
        if self._picture_seconds * MAX_BATCH <= BATCH_SECONDS:
            return MAX_BATCH
        return max(1, int(BATCH_SECONDS / self._picture_seconds))

    def run(self, images: NDArray[np.uint8]) -> Outputs:
        """Run the network on uint8 [N, height, width, 3] RGB: probabilities [N, classes] and labels [N].

        Raises InferenceFailed when onnxruntime fails.
        """
        return joined(list(self.runs(images)))

    def runs(self, images: NDArray[np.uint8]) -> Iterator[Outputs]:
        """The same in parts of ``most_at_once`` pictures, each computed when it is asked for."""
        for first in range(0, len(images), self.most_at_once):
            yield self._run(images[first : first + self.most_at_once])

    def _run(self, images: NDArray[np.uint8]) -> Outputs:
        session = self._session if len(images) > 1 else self._lone_session
        try:
            probabilities, labels = session.run(OUTPUTS, {"images": images})
        except Exception as error:
            raise InferenceFailed(f"{self.name} version {self.version} could not be run.") from error
        return probabilities, labels

    def classify(self, images: NDArray[np.uint8]) -> list[Prediction | InferenceFailed]:
        """Classify uint8 [N, height, width, 3] RGB, each picture for itself: where a probability is not finite, an
        error stands in the prediction's place.

        Raises InferenceFailed when onnxruntime fails.
        """
        probabilities, labels = self.run(images)
        usable: list[bool] = np.asarray(np.isfinite(probabilities).all(axis=1)).tolist()
        return [
            self._predict(row, label) if is_usable else self.not_a_number()
            for row, label, is_usable in zip(probabilities.tolist(), labels.tolist(), usable, strict=True)
        ]

    def not_a_number(self) -> InferenceFailed:
        """What is answered where a probability is not finite."""
        return InferenceFailed(f"{self.name} version {self.version} gave a probability that is not a number.")

    def _predict(self, probabilities: list[float], label: int) -> Prediction:
        names = self._metadata.class_names
        return Prediction(
            label=names[label],
            class_id=label,
            confidence=max(probabilities),
            probabilities=dict(zip(names, probabilities, strict=True)),
            model=self._itself,
        )

    def warm_up(self) -> None:
        """Run a few batch sizes, which allocates what later runs reuse; check the answers, and measure the time.

        Raises BundleError when the graph does not keep what its signature promises.
        """
        self._picture_seconds = self._lone_seconds = self._try(self._lone_session, 1)
        if not self.is_quick:
            # Beside such a network the event loop has next to nothing to do: batches too are for all processors.
            self._session = self._lone_session
        for batch in WARM_UP_BATCHES:
            if batch == WARM_UP_BATCHES[0] or batch <= self.most_at_once:
                self._picture_seconds = self._try(self._session, batch) / batch

    def _try(self, session: InferenceSession, batch: int) -> float:
        """Check the answers for a batch, and return the least seconds of several runs.

        The first, in which a GPU loads its libraries, is not timed.
        """
        images = np.random.default_rng(0).integers(0, 256, (batch, *self.picture_size, 3), dtype=np.uint8)
        images[0] = 0
        self._check(session, images)
        seconds: list[float] = []
        while len(seconds) < WARM_UP_RUNS and sum(seconds) < WARM_UP_SECONDS:
            began = time.perf_counter()
            self._check(session, images)
            seconds.append(time.perf_counter() - began)
        return min(seconds)

    def _check(self, session: InferenceSession, images: NDArray[np.uint8]) -> None:
        batch, classes = len(images), len(self._metadata.class_names)
        try:
            probabilities, labels = session.run(OUTPUTS, {"images": images})
        except Exception as error:
            raise refusal(error, f"it fails on a batch of {batch}") from None
        if probabilities.shape != (batch, classes) or labels.shape != (batch,):
            raise BundleError(f"a batch of {batch} gave probabilities {probabilities.shape} and label {labels.shape}.")
        if not (np.isfinite(probabilities).all() and np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)):
            raise BundleError("its probabilities are not finite numbers that sum to 1.")
        if probabilities.min() < -1e-6 or not np.array_equal(labels, probabilities.argmax(axis=1)):
            raise BundleError("its label is not the class of the greatest probability.")


def load_classifier(models_dir: Path, name: str, version: int, provider: Provider, threads: Threads) -> Classifier:
    """Load, validate and warm ``models_dir/name/version``. Raises BundleError, or its BundleUnreadable."""
    bundle = read_bundle(models_dir / name / str(version) / FILE_NAME, provider, threads)
    classifier = Classifier(name, version, bundle, provider)
    classifier.warm_up()
    return classifier


def joined(parts: list[Outputs]) -> Outputs:
    """Put the parts of a run together, one at least."""
    if len(parts) == 1:
        return parts[0]
    probabilities, labels = zip(*parts, strict=True)
    return np.concatenate(probabilities), np.concatenate(labels)
