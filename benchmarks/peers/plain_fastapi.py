"""The server that one writes first: FastAPI, an UploadFile, a batch of one on the event loop, the same ONNX file.

python -m benchmarks.peers.plain_fastapi MODEL PORT
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image


def make_app(model: str) -> FastAPI:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    height, width = session.get_inputs()[0].shape[1:3]
    app = FastAPI()

    @app.post("/predict")
    async def predict(file: UploadFile) -> dict[str, Any]:
        picture = Image.open(io.BytesIO(await file.read())).convert("RGB").resize((width, height))
        probabilities, labels = session.run(["probabilities", "label"], {"images": np.asarray(picture)[None]})
        shown = dict(zip(names, probabilities[0].tolist(), strict=True))
        return {"label": names[labels[0]], "probabilities": shown}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[1]), port=int(sys.argv[2]), log_level="warning")
