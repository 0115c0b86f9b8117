"""MLServer, as its documentation writes a runtime of one's own. Needs MLServer.

    python -m benchmarks.peers.mlserver_server PORT PROCESSES MAX_BATCH

Pictures are the body at /predict, never batched and in one process alone, or base64 in the Open Inference Protocol.
"""

import asyncio
import json
import sys

import numpy as np
from fastapi import Request, Response
from mlserver import MLModel, MLServer, ModelSettings, Settings, codecs, handlers, types, utils  # type: ignore[import-not-found, unused-ignore]

from benchmarks.peers.onnx_classifier import OnnxClassifier

BATCH_SECONDS = 0.002  # for which a picture waits for others


class PictureModel(MLModel):  # type: ignore[misc, unused-ignore]
    async def load(self) -> bool:
        self._classifier = OnnxClassifier.from_environment()
        return True

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        pictures = [self._classifier.decode(content) for content in codecs.Base64Codec.decode_input(payload.inputs[0])]
        answers = self._classifier.classify(np.stack(pictures))
        probabilities = np.array([list(answer["probabilities"].values()) for answer in answers], np.float32)
        labels = codecs.StringCodec.encode_output("label", [answer["label"] for answer in answers])
        outputs = [codecs.NumpyCodec.encode_output("probabilities", probabilities), labels]
        return types.InferenceResponse(model_name=self.name, outputs=outputs)

    @handlers.custom_handler(rest_path="/predict")  # type: ignore[untyped-decorator, unused-ignore]
    async def classify(self, request: Request) -> Response:
        answer = self._classifier.classify(self._classifier.decode(await request.body())[None])[0]
        return Response(json.dumps(answer), media_type="application/json")


async def main(port: int, processes: int, max_batch: int) -> None:
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=port,
        grpc_port=0,
        metrics_endpoint=None,
        parallel_workers=processes if processes > 1 else 0,  # beside the process that answers
    )
    model = ModelSettings(
        name="cifar10",
        implementation="benchmarks.peers.mlserver_server.PictureModel",
        max_batch_size=max_batch,
        max_batch_time=BATCH_SECONDS,
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    utils.install_uvloop_event_loop()
    asyncio.run(main(*map(int, sys.argv[1:])))
