"""The server that one writes first: FastAPI, a batch of one on the event loop, the same ONNX file.

python -m benchmarks.peers.plain_fastapi PORT PROCESSES
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, UploadFile

from benchmarks.peers.onnx_classifier import OnnxClassifier


def make_app() -> FastAPI:
    classifier = OnnxClassifier.from_environment()
    app = FastAPI()

    @app.get("/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/predict")
    async def predict(file: UploadFile) -> dict[str, Any]:
        return classifier.classify(classifier.decode(await file.read())[None])[0]

    @app.post("/predict/body")
    async def predict_body(request: Request) -> dict[str, Any]:
        return classifier.classify(classifier.decode(await request.body())[None])[0]

    return app


if __name__ == "__main__":
    port, processes = map(int, sys.argv[1:])
    app = "benchmarks.peers.plain_fastapi:make_app"
    # A worker that imports answers its supervisor only afterwards: on a busy machine not within uvicorn's 5 seconds.
    uvicorn.run(app, factory=True, port=port, workers=processes, log_level="warning", timeout_worker_healthcheck=90)
