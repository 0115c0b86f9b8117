"""Bundles that must not be served: each is refused with one sentence, and the server stays up."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from serving.bundle import BundleError, BundleUnreadable, read_bundle
from serving.classifier import Classifier
from serving.predictions import Prediction
from serving.providers import CPU, Provider
from tests.serving.bundles import CLASSES, color_bundle, metadata

PROVIDER = Provider(CPU)


def load(folder: Path, content: bytes) -> Classifier:
    path = folder / "model.onnx"
    path.write_bytes(content)
    classifier = Classifier("cifar10", 1, read_bundle(path, PROVIDER), PROVIDER)
    classifier.warm_up()
    return classifier


def refusal(folder: Path, content: bytes) -> str:
    with pytest.raises(BundleError) as refused:
        load(folder, content)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert str(folder) not in sentence
    return sentence


def test_a_good_bundle_states_its_facts(tmp_path: Path) -> None:
    classifier = load(tmp_path, color_bundle(height=24, width=40))
    assert classifier.picture_size == (24, 40)
    facts = classifier.metadata
    assert facts.class_names == CLASSES
    assert facts.eval_accuracy == 0.8253
    assert facts.eval_pictures == 10000
    assert facts.recipe["name"] == "tutorial"
    assert facts.step == 60000
    assert facts.created.year == 2026


def test_a_batch_is_answered_row_by_row(tmp_path: Path) -> None:
    classifier = load(tmp_path, color_bundle())
    images = np.zeros((3, 32, 32, 3), np.uint8)
    for row, channel in enumerate((2, 0, 1)):
        images[row, :, :, channel] = 250
    answers = classifier.classify(images)
    assert [answer.label for answer in answers if isinstance(answer, Prediction)] == ["blue", "red", "green"]


@pytest.mark.parametrize("key", sorted(metadata()))
def test_every_key_of_the_metadata_is_needed(tmp_path: Path, key: str) -> None:
    assert key in refusal(tmp_path, color_bundle(properties=metadata(**{key: None})))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format_version", "2"),
        ("format_version", ""),
        ("dataset", ""),
        ("class_names", "red, green, blue"),
        ("class_names", '["red", "green", 3]'),
        ("class_names", '["red", "green", "red"]'),
        ("class_names", '["red", "green"]'),
        ("class_names", json.dumps(["red", "green", 256 * "b"])),
        ("class_names", r'["red", "green", "\udcff"]'),
        ("class_names", '{"red": 0}'),
        ("class_names", "[" * 100_000),
        ("eval_accuracy", "82.53"),
        ("eval_accuracy", "nan"),
        ("eval_accuracy", "-0.1"),
        ("eval_accuracy", "good"),
        ("eval_per_class_accuracy", '{"red": 0.5, "green": 0.5, "purple": 0.5}'),
        ("eval_per_class_accuracy", '{"red": 0.5, "green": 0.5, "blue": NaN}'),
        ("eval_per_class_accuracy", '{"red": 0.5, "green": 0.5, "blue": 2}'),
        ("eval_pictures", "0"),
        ("eval_pictures", "many"),
        ("eval_data_sha256", "abc"),
        ("weights_sha256", "AB" * 32),
        ("recipe", "{}"),
        ("recipe", '"tutorial"'),
        ("step", "-1"),
        ("ema_decay", "inf"),
        ("libraries", "[]"),
        ("created", "yesterday"),
        ("created", "2026-11-22T18:40:36"),
    ],
)
def test_wrong_metadata_is_refused_by_name(tmp_path: Path, key: str, value: str) -> None:
    assert key in refusal(tmp_path, color_bundle(properties=metadata(**{key: value})))


def test_the_classes_must_be_as_many_as_the_columns(tmp_path: Path) -> None:
    four = ("red", "green", "blue", "gray")
    sentence = refusal(tmp_path, color_bundle(properties=metadata(four)))
    assert "4 names" in sentence
    assert "3 columns" in sentence


def set_input(kind: int, shape: list[str | int]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", kind, shape))

    return change


def rename(old: str, new: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.name = new if value.name == old else value.name
        for node in model.graph.node:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    names[index] = new if name == old else name

    return change


def swap_outputs(model: onnx.ModelProto) -> None:
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(reversed(outputs))


def set_initializer(name: str, value: np.ndarray) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name == name:
                tensor.CopyFrom(numpy_helper.from_array(value, name))

    return change


def set_opset(version: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def argmin(model: onnx.ModelProto) -> None:
    model.graph.node[-1].op_type = "ArgMin"


def no_softmax(model: onnx.ModelProto) -> None:
    node = model.graph.node[4]
    node.op_type = "Relu"
    del node.attribute[:]


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[4].op_type = "Sortmax"


def fixed_inside(model: onnx.ModelProto) -> None:
    """Made for batches of one, by a shape that only a run computes."""
    for name, value in (("zero", np.array(0, np.int64)), ("one", np.array([1, 3], np.int64))):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    model.graph.node[3].input[0] = "reshaped"
    nodes = [
        helper.make_node("Cast", ["images"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mul", ["whole", "zero"], ["zeros"]),
        helper.make_node("ReduceMax", ["zeros"], ["maximum"], keepdims=0),
        helper.make_node("Add", ["maximum", "one"], ["shape"]),
        helper.make_node("Reshape", ["ordered", "shape"], ["reshaped"]),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(3, node)


def beyond_any_memory(model: onnx.ModelProto) -> None:
    """Computes a tensor of 2^60 bytes on its way."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**29, 2**29]), "size"))
    model.graph.node[4].input[0] = "shifted"
    nodes = [
        helper.make_node("ReduceMax", ["ordered"], ["greatest"], keepdims=0),
        helper.make_node("Expand", ["greatest", "size"], ["expanded"]),
        helper.make_node("ReduceMax", ["expanded"], ["shift"], keepdims=0),
        helper.make_node("Sub", ["logits", "shift"], ["shifted"]),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(4, node)


def test_want_of_memory_is_not_held_against_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleUnreadable, match=r"^it fails on a batch of 1 at the moment \([^0-9]+\)\.$"):
        load(tmp_path, color_bundle(change=beyond_any_memory))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (set_input(TensorProto.FLOAT, ["N", 32, 32, 3]), "images, tensor"),
        (set_input(TensorProto.UINT8, [1, 32, 32, 3]), "N free"),
        (set_input(TensorProto.UINT8, ["N", "H", "W", 3]), "fixed height"),
        (set_input(TensorProto.UINT8, ["N", 32, 32, 1]), "[N, height, width, 3]"),
        (set_input(TensorProto.UINT8, ["N", 5000, 32, 3]), "fixed height"),
        (rename("images", "pictures"), "images, tensor"),
        (rename("probabilities", "scores"), "probabilities, tensor"),
        (swap_outputs, "probabilities, tensor"),
        (set_initializer("temperature", np.array(np.nan, np.float32)), "finite"),
        (no_softmax, "sum to 1"),
        (argmin, "label"),
        (unknown_operator, "onnxruntime cannot load it"),
        (fixed_inside, "batch of 2"),
        (set_opset(99), "onnxruntime cannot load it"),
    ],
)
def test_a_graph_that_breaks_the_contract_is_refused(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], said: str
) -> None:
    assert said in refusal(tmp_path, color_bundle(change=change))


def test_an_ir_version_of_the_future_is_refused(tmp_path: Path) -> None:
    assert "onnxruntime cannot load it" in refusal(
        tmp_path, color_bundle(change=lambda model: setattr(model, "ir_version", 99))
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", bytes(1000), b"ORTM" * 100, b"\x1c\0\0\0ORTM" + bytes(500), color_bundle()[:-100]],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    refusal(tmp_path, content)


def test_a_bundle_cut_anywhere_or_damaged_is_refused_or_whole(tmp_path: Path) -> None:
    content = color_bundle()
    for length in range(0, len(content), 61):
        refusal(tmp_path, content[:length])
    random = np.random.default_rng(3)
    for _ in range(150):
        damaged = bytearray(content)
        damaged[random.integers(len(content))] = random.integers(256)
        try:
            load(tmp_path, bytes(damaged))
        except BundleError:
            continue


@pytest.mark.parametrize("where", ["beside", "working directory", "parent", "absolute", "memory"])
def test_data_outside_of_the_file_is_refused(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    outside = tmp_path / "outside.bin"
    for path in (outside, inside / "beside.bin"):
        path.write_bytes(np.array(16, np.float32).tobytes())
    location = {
        "beside": "beside.bin",
        "working directory": "inside/beside.bin",
        "parent": "../outside.bin",
        "absolute": str(outside),
        "memory": "*/_ORT_MEM_ADDR_/*",
    }[where]
    monkeypatch.chdir(tmp_path if where == "working directory" else inside)

    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == "temperature")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "4")):
            tensor.external_data.add(key=key, value=value)

    sentence = refusal(inside, color_bundle(change=change))
    assert "outside of the file" in sentence or "onnxruntime cannot load it" in sentence


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(BundleError, match=r"cannot be read|regular file"):
            read_bundle(tmp_path / name, PROVIDER)
    with pytest.raises(BundleUnreadable, match="cannot be read"):
        read_bundle(tmp_path / "missing", PROVIDER)


def test_a_file_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(600 * 1024 * 1024)
    with pytest.raises(BundleError, match="bytes, more than"):
        read_bundle(path, PROVIDER)


def test_unknown_metadata_is_no_fault(tmp_path: Path) -> None:
    assert load(tmp_path, color_bundle(properties=metadata() | {"note": json.dumps(["more"])})).version == 1
