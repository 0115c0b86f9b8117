"""The bundle as every peer of the server uses it: Pillow decodes, onnxruntime computes with its defaults.

Needs onnxruntime, Pillow and NumPy. The benchmark says in two variables of the environment which bundle, and how many
threads a process has for one run.
"""

from __future__ import annotations

import io
import json
import os
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

MODEL_VARIABLE = "BENCHMARK_MODEL"
THREADS_VARIABLE = "BENCHMARK_THREADS"


class OnnxClassifier:
    def __init__(self, model: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._names = json.loads(self._session.get_modelmeta().custom_metadata_map["class_names"])
        self._height, self._width = self._session.get_inputs()[0].shape[1:3]

    @classmethod
    def from_environment(cls) -> Self:
        return cls(os.environ[MODEL_VARIABLE], int(os.environ[THREADS_VARIABLE]))

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """uint8 [height, width, 3] from a picture file's bytes."""
        return self.pixels(Image.open(io.BytesIO(content)))

    def pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(picture.convert("RGB").resize((self._width, self._height)))

    def classify(self, images: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """An answer for each of uint8 [N, height, width, 3]."""
        probabilities, labels = self._session.run(["probabilities", "label"], {"images": images})
        return [
            {"label": self._names[label], "probabilities": dict(zip(self._names, row, strict=True))}
            for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True)
        ]
