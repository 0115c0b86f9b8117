"""The served model as an ONNX graph: evaluation preprocessing, network, test-time views, softmax and top-1 in one.

images uint8 [N, H, W, 3] -> probabilities float32 [N, classes], label int64 [N]
"""

from __future__ import annotations

import warnings

import onnx
import torch
from torch import Tensor, nn

from training.inference import logits_of_pictures
from training.network import Network

OPSET = 20  # read by onnxruntime since 1.17 and by current TensorRT; the graph needs nothing newer


class ServedModel(nn.Module):
    """uint8 [N, H, W, 3] -> float32 [N, classes] probabilities and int64 [N] top-1 classes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits_of_pictures(self.network, images.permute(0, 3, 1, 2))
        return torch.softmax(logits, dim=1), logits.argmax(dim=1)


def to_onnx(model: ServedModel, image_size: int) -> onnx.ModelProto:
    """The model, on the CPU, as a checked graph for any number of pictures of `image_size` pixels a side.

    Raises onnx.checker.ValidationError where the graph is not valid.
    """
    example = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notes on its own internals
        program = torch.onnx.export(
            model.eval(),
            (example,),
            input_names=["images"],
            output_names=["probabilities", "label"],
            dynamic_shapes={"images": {0: torch.export.Dim("N")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _drop_exporter_notes(proto.graph)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _drop_exporter_notes(graph: onnx.GraphProto) -> None:
    # They hold stack traces, and so the paths of the machine that exported.
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
