"""The served graph in int8, for CPUs: smaller, and faster where the processor multiplies bytes.

Static quantization in ONNX's own operators (QuantizeLinear and DequantizeLinear around each layer, "QDQ"), by
onnxruntime.quantization: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantFormat, QuantType, quant_pre_process, quantize_static

from training.accuracy import Accuracy
from training.dataset import Split
from training.errors import ExportFailed, UserError

CALIBRATION_PICTURES = 512  # evenly spread over the training split
ALLOWED_FALL = 0.005  # of top-1 accuracy, as a fraction

_BATCH = 64  # pictures at once, all of whose activations are held


def to_int8(graph: onnx.ModelProto, training_split: Split, weights: Collection[str]) -> onnx.ModelProto:
    """The graph with int8 weights, a scale for each output channel, and uint8 activations; inputs and outputs the same.

    `weights` are those that become bytes, by their names in the graph.

    The activations' ranges are those of CALIBRATION_PICTURES training pictures, or of all where there are fewer. The
    same graph and pictures give the same result to the byte. Raises UserError where there is no room for the files
    in between, onnx.checker.ValidationError where the result is not valid.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="quantization.") as directory:
            prepared, quantized = Path(directory) / "prepared.onnx", Path(directory) / "quantized.onnx"
            # Shapes alone: onnxruntime optimizes when it loads, and the nodes keep the names used below.
            quant_pre_process(graph, prepared, skip_optimization=True, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                quantized,
                _Pictures(_calibration_images(training_split)),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Gemm"],
                nodes_to_quantize=[node.name for node in graph.graph.node if not set(weights).isdisjoint(node.input)],
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,  # 7 bits a weight: CPUs without VNNI add products in 16 bits, which 8 overflow
            )
            model = onnx.load_model(quantized)
    except OSError as error:
        raise UserError(
            f"There is no room to quantize in {tempfile.gettempdir()} ({error.strerror or error}); make room, or name "
            "another folder in $TMPDIR."
        ) from error
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model


def check_accuracy(in_float32: Accuracy, in_int8: Accuracy) -> None:
    """Raises ExportFailed unless the overall accuracy falls by less than ALLOWED_FALL."""
    fall = in_float32.overall - in_int8.overall
    if not fall < ALLOWED_FALL:
        raise ExportFailed(
            f"In int8 precision @ 1 falls by {100 * fall:.2f} points, from {in_float32.overall:.4f} to "
            f"{in_int8.overall:.4f}, and less than {100 * ALLOWED_FALL} is allowed; nothing was published. Export "
            "without --quantize."
        )


def description(in_float32: Accuracy, training_split: Split, weights: Collection[str]) -> str:
    """The metadata's `quantization`, a JSON object; models/README.md says what is in it."""
    return json.dumps(
        {
            "type": "int8",
            "weights": list(weights),
            "calibration_pictures": len(_calibration_images(training_split)),
            "float32_accuracy": in_float32.overall,
        }
    )


class _Pictures:
    """What onnxruntime.quantization calls a CalibrationDataReader."""

    def __init__(self, images: torch.Tensor) -> None:
        self._batches = iter(images.permute(0, 2, 3, 1).contiguous().split(_BATCH))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch.numpy()}


def _calibration_images(split: Split) -> torch.Tensor:
    """uint8 [M, 3, H, W]"""
    apart = max(1, len(split) // CALIBRATION_PICTURES)
    return split.images[::apart][:CALIBRATION_PICTURES]
