"""Tiny bundles whose answer a test can predict, and how they get into a folder of models."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("red", "green", "blue")


def metadata(classes: tuple[str, ...] = CLASSES, /, **changes: str | None) -> dict[str, str]:
    """Complete metadata; a change of None leaves the key out."""
    properties: dict[str, str | None] = {
        "format_version": "1",
        "dataset": "synthetic",
        "class_names": json.dumps(classes),
        "eval_accuracy": "0.8253",
        "eval_per_class_accuracy": json.dumps(dict.fromkeys(classes, 0.8253)),
        "eval_split": "test",
        "eval_pictures": "10000",
        "eval_data_sha256": "ab" * 32,
        "recipe": json.dumps({"name": "tutorial", "batch_size": 128}),
        "step": "60000",
        "ema_decay": "0.9999",
        "weights_sha256": "cd" * 32,
        "source_revision": "0123abc-dirty",
        "libraries": json.dumps({"python": "3.11.7", "onnx": onnx.__version__}),
        "created": "2026-11-22T18:40:36+00:00",
    }
    return {key: value for key, value in (properties | changes).items() if value is not None}


def color_bundle(
    *,
    order: tuple[int, ...] = (0, 1, 2),
    height: int = 32,
    width: int = 32,
    properties: dict[str, str] | None = None,
    change: Callable[[onnx.ModelProto], object] | None = None,
) -> bytes:
    """A bundle that names the strongest colour of a picture: softmax over the channels' means / 16.

    ``order`` permutes the channels, which makes versions that disagree.
    """
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Gather", ["means", "order"], ["ordered"], axis=1),
        helper.make_node("Div", ["ordered", "temperature"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    constants = {"axes": np.array([1, 2]), "order": np.array(order), "temperature": np.array(16, np.float32)}
    model = _model(nodes, constants, height, width, 3)
    helper.set_model_props(model, metadata() if properties is None else properties)
    if change is not None:
        change(model)
    return bytes(model.SerializeToString())


def no_number_for_white(model: onnx.ModelProto) -> None:
    """Change a color_bundle so that a white picture's probabilities are no numbers."""
    position = next(index for index, node in enumerate(model.graph.node) if node.op_type == "Softmax")
    model.graph.node[position].input[0] = "scaled"
    model.graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "white"))
    model.graph.node.insert(position, helper.make_node("Sub", ["ordered", "white"], ["below"]))
    model.graph.node.insert(position + 1, helper.make_node("Div", ["below", "below"], ["one"]))
    model.graph.node.insert(position + 2, helper.make_node("Mul", ["logits", "one"], ["scaled"]))


def brightness_bundle(properties: dict[str, str], side: int = 32, matrices: int = 0) -> bytes:
    """A bundle of any number of classes: of n, it names the one of number (n - 1) * mean brightness / 255.

    ``matrices``: of 1024 x 1024, each of which a picture is multiplied with 1024 times, so that it takes time.
    """
    classes = len(json.loads(properties["class_names"]))
    constants = {
        "axes": np.array([1, 2, 3]),
        "column": np.array([-1, 1]),
        "levels": np.linspace(0, 255, classes, dtype=np.float32),
        "sharpness": np.array(-((classes - 1) ** 2) / 8192, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Reshape", ["means", "column"], ["mean0"]),
    ]
    if matrices:
        constants |= {"matrix": np.eye(1024, dtype=np.float32), "ones": np.ones((1, 1024, 1024), np.float32)}
        constants |= {"block": np.array([-1, 1, 1]), "last": np.array([1, 2])}
        nodes += [
            helper.make_node("Reshape", ["means", "block"], ["mean blocks"]),
            helper.make_node("Mul", ["mean blocks", "ones"], ["block0"]),
            *(helper.make_node("MatMul", [f"block{n}", "matrix"], [f"block{n + 1}"]) for n in range(matrices)),
            helper.make_node("ReduceMean", [f"block{matrices}", "last"], ["block means"], keepdims=0),
            helper.make_node("Reshape", ["block means", "column"], ["mean1"]),
        ]
    nodes += [
        helper.make_node("Sub", ["mean1" if matrices else "mean0", "levels"], ["distances"]),
        helper.make_node("Mul", ["distances", "distances"], ["squares"]),
        helper.make_node("Mul", ["squares", "sharpness"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    model = _model(nodes, constants, side, side, classes)
    helper.set_model_props(model, properties)
    return bytes(model.SerializeToString())


def _model(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray[Any, Any]], height: int, width: int, classes: int
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", height, width, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def color_probabilities(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What color_bundle answers for uint8 [H, W, 3]."""
    logits = pixels.reshape(-1, 3).mean(axis=0) / 16
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def publish(models: Path, version: int | str, content: bytes, name: str = "cifar10") -> Path:
    """Publish as the exporter does: written beside, then renamed into place."""
    folder = models / name
    beside = folder / f".{version}.{os.getpid()}"
    beside.mkdir(parents=True)
    (beside / "model.onnx").write_bytes(content)
    beside.rename(folder / str(version))
    return folder / str(version) / "model.onnx"


def replace(path: Path, content: bytes) -> None:
    """Replace a file in place, atomically."""
    beside = path.with_name(".beside")
    beside.write_bytes(content)
    beside.rename(path)
