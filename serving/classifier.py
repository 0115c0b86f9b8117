"""One version of a model in memory: uint8 pictures in, answers out."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.bundle import FILE_NAME, Bundle, BundleError, Metadata, read_bundle
from serving.predictions import ModelVersion, Prediction
from serving.providers import Provider

WARM_UP_BATCHES = (1, 2, 8)


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
        self._metadata = bundle.metadata
        self._itself = ModelVersion(name=name, version=version)

    @property
    def metadata(self) -> Metadata:
        return self._metadata

    def classify(self, images: NDArray[np.uint8]) -> list[Prediction | InferenceFailed]:
        """Classify uint8 [N, height, width, 3] RGB, each picture for itself: where a probability is not finite, an
        error stands in the prediction's place.

        Raises InferenceFailed when onnxruntime fails.
        """
        try:
            probabilities, labels = self._session.run(["probabilities", "label"], {"images": images})
        except Exception as error:
            raise InferenceFailed(f"{self.name} version {self.version} could not be run.") from error
        usable = [bool(np.isfinite(row).all()) for row in probabilities]
        return [
            self._predict(row, label) if is_usable else self._not_a_number()
            for row, label, is_usable in zip(probabilities.tolist(), labels.tolist(), usable, strict=True)
        ]

    def _not_a_number(self) -> InferenceFailed:
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
        """Run a few batch sizes, which allocates what later runs reuse, and check the answers' form.

        Raises BundleError when the graph does not keep what its signature promises.
        """
        classes = len(self._metadata.class_names)
        random = np.random.default_rng(0)
        for batch in WARM_UP_BATCHES:
            images = random.integers(0, 256, (batch, *self.picture_size, 3), dtype=np.uint8)
            images[0] = 0
            try:
                probabilities, labels = self._session.run(["probabilities", "label"], {"images": images})
            except Exception as error:
                raise BundleError(f"it fails on a batch of {batch}: {' '.join(str(error).split())[:300]}") from None
            if probabilities.shape != (batch, classes) or labels.shape != (batch,):
                raise BundleError(
                    f"a batch of {batch} gave probabilities {probabilities.shape} and label {labels.shape}."
                )
            if not (np.isfinite(probabilities).all() and np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)):
                raise BundleError("its probabilities are not finite numbers that sum to 1.")
            if probabilities.min() < -1e-6 or not np.array_equal(labels, probabilities.argmax(axis=1)):
                raise BundleError("its label is not the class of the greatest probability.")


def load_classifier(models_dir: Path, name: str, version: int, provider: Provider, threads: int) -> Classifier:
    """Load, validate and warm ``models_dir/name/version``. Raises BundleError, or its BundleUnreadable."""
    bundle = read_bundle(models_dir / name / str(version) / FILE_NAME, provider, threads)
    classifier = Classifier(name, version, bundle, provider)
    classifier.warm_up()
    return classifier
