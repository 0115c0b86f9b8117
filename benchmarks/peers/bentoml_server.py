"""BentoML, as its documentation serves a model that gets images. Needs BentoML.

BENCHMARK_PROCESSES=1 python -m bentoml serve benchmarks.peers.bentoml_server:PictureService --port PORT
"""

import os
from typing import Any

import bentoml  # type: ignore[import-not-found, unused-ignore]
import numpy as np
from PIL.Image import Image

from benchmarks.peers.onnx_classifier import OnnxClassifier

PROCESSES_VARIABLE = "BENCHMARK_PROCESSES"
MAX_BATCH = 32


@bentoml.service(workers=int(os.environ[PROCESSES_VARIABLE]), logging={"access": {"enabled": False}})
class PictureService:
    def __init__(self) -> None:
        self._classifier = OnnxClassifier.from_environment()

    @bentoml.api  # type: ignore[untyped-decorator, unused-ignore]
    def predict(self, file: Image) -> dict[str, Any]:
        return self._classifier.classify(self._classifier.pixels(file)[None])[0]

    @bentoml.api(route="/predict/body")  # type: ignore[untyped-decorator, unused-ignore]
    def predict_body(self, file: Image, /) -> dict[str, Any]:
        return self._classifier.classify(self._classifier.pixels(file)[None])[0]

    @bentoml.api(  # type: ignore[untyped-decorator, unused-ignore]
        route="/predict/batched", batchable=True, max_batch_size=MAX_BATCH
    )
    def predict_batched(self, files: list[Image]) -> list[dict[str, Any]]:
        """BentoML joins what clients send, a list of one each."""
        return self._classifier.classify(np.stack([self._classifier.pixels(file) for file in files]))
