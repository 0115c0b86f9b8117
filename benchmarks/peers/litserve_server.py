"""LitServe, as its documentation serves a model that gets files as form fields. Needs LitServe.

python -m benchmarks.peers.litserve_server PORT PROCESSES MAX_BATCH
"""

import sys
from typing import Any

import litserve  # type: ignore[import-not-found, unused-ignore]
import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from benchmarks.peers.onnx_classifier import OnnxClassifier

BATCH_SECONDS = 0.002  # for which a picture waits for others


class PictureApi(litserve.LitAPI):  # type: ignore[misc, unused-ignore]
    def setup(self, device: str) -> None:  # noqa: ARG002
        self._classifier = OnnxClassifier.from_environment()

    def decode_request(self, request: Request) -> NDArray[np.uint8]:
        """LitServe takes "Request" for a form or JSON, and hands over what it holds."""
        return self._classifier.decode(request["file"].file.read())

    def predict(self, given: NDArray[np.uint8]) -> Any:
        """A batch of pictures where LitServe makes batches, else one."""
        if self.max_batch_size > 1:
            return self._classifier.classify(given)
        return self._classifier.classify(given[None])[0]


if __name__ == "__main__":
    port, processes, max_batch = map(int, sys.argv[1:])
    api = PictureApi(max_batch_size=max_batch, batch_timeout=BATCH_SECONDS if max_batch > 1 else 0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=processes)
    server.run(host="127.0.0.1", port=port, num_api_servers=processes, log_level="error", generate_client_file=False)
