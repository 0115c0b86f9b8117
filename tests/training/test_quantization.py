"""`export --quantize int8`: what is published, what is refused, and that it answers as the float32 bundle does."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from benchmarks import quantization
from serving.bundle import read_bundle
from serving.providers import Provider
from tests.training.processes import Finished, RunCommand
from tests.training.runs import snapshot
from training.bundle import Publisher
from training.dataset import Dataset, Split
from training.errors import ExportFailed, UserError
from training.export import export
from training.quantization import to_int8
from training.run_directory import RunDirectory

Outputs = tuple[NDArray[np.float32], NDArray[np.int64]]


@pytest.fixture(scope="module")
def exported(
    run: RunCommand, learned: Path, cifar10_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Finished]:
    """A models directory whose version 1 is float32 and version 2 int8, and what the second export printed."""
    models = tmp_path_factory.mktemp("quantized") / "models"
    command = ["export", "--run-dir", learned, "--data-dir", cifar10_dir, "--models-dir", models]
    for more in ([], ["--quantize", "int8"]):
        finished = run(*command, *more)
        assert finished.status == 0, finished.errors
    return models, finished


@pytest.fixture(scope="module")
def float32(exported: tuple[Path, Finished]) -> Path:
    return exported[0] / "cifar10" / "1" / "model.onnx"


@pytest.fixture(scope="module")
def int8(exported: tuple[Path, Finished]) -> Path:
    return exported[0] / "cifar10" / "2" / "model.onnx"


@pytest.fixture(scope="module")
def pictures(cifar10: Dataset) -> NDArray[np.uint8]:
    """uint8 [1000, 32, 32, 3]"""
    found: NDArray[np.uint8] = cifar10.test.images[:1000].permute(0, 2, 3, 1).contiguous().numpy()
    return found


def opened(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def answers(path: Path, pictures: NDArray[np.uint8]) -> Outputs:
    probabilities, labels = opened(path).run(None, {"images": pictures})
    return probabilities, labels


def metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load_model(path).metadata_props}


def test_what_the_export_says(exported: tuple[Path, Finished], float32: Path, int8: Path) -> None:
    output = exported[1].output
    assert f"Precision @ 1 through onnxruntime: {float(metadata(float32)['eval_accuracy']):.4f} (" in output
    assert f"Precision @ 1 in int8: {float(metadata(int8)['eval_accuracy']):.4f} (" in output
    assert f"Published {int8}." in output
    assert exported[1].errors == ""


def test_one_file_a_third_of_the_size(exported: tuple[Path, Finished], float32: Path, int8: Path) -> None:
    assert sorted(exported[0].rglob("*.onnx")) == [float32, int8]
    assert int8.stat().st_size < float32.stat().st_size / 3


def test_the_graph_is_standard_and_names_no_path(int8: Path) -> None:
    model = onnx.load_model(int8, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 20
    stored = [weights for weights in model.graph.initializer if weights.data_type == onnx.TensorProto.INT8]
    assert {(384, 2304), (192, 384), (64, 64, 5, 5)} <= {tuple(weights.dims) for weights in stored}
    content = int8.read_bytes()
    assert b"/tmp" not in content
    assert str(Path.home()).encode() not in content


def test_the_server_takes_it(int8: Path, cifar10: Dataset) -> None:
    bundle = read_bundle(int8, Provider("CPUExecutionProvider"))
    assert (bundle.height, bundle.width) == (32, 32)
    assert bundle.metadata.class_names == cifar10.class_names


def test_metadata_is_that_of_the_float32_bundle_and_one_key_more(int8: Path, float32: Path) -> None:
    before, after = metadata(float32), metadata(int8)
    told = json.loads(after["quantization"])
    assert told == {
        "type": "int8",
        "weights": [
            *("network.norm1.band", "network.conv2.weight", "network.norm2.band"),
            *("network.local3.weight", "network.local4.weight"),
        ],
        "calibration_pictures": 512,
        "float32_accuracy": float(before["eval_accuracy"]),
    }
    assert after.keys() == before.keys() | {"quantization"}
    own = ("eval_accuracy", "eval_per_class_accuracy", "created", "quantization")
    assert {key: value for key, value in after.items() if key not in own} == {
        key: value for key, value in before.items() if key not in own
    }


def test_accuracy_is_its_own_and_hardly_lower(int8: Path, float32: Path, cifar10: Dataset) -> None:
    batches = cifar10.test.images.permute(0, 2, 3, 1).contiguous().split(50)
    session = opened(int8)
    found = np.concatenate([session.run(["label"], {"images": batch.numpy()})[0] for batch in batches])
    accuracy = float((found == cifar10.test.labels.numpy()).mean())
    assert float(metadata(int8)["eval_accuracy"]) == pytest.approx(accuracy, abs=5e-4)
    assert float(metadata(float32)["eval_accuracy"]) - accuracy < 0.005


def test_answers_are_those_of_float32_but_for_rounding(int8: Path, float32: Path, pictures: NDArray[np.uint8]) -> None:
    before, after = answers(float32, pictures), answers(int8, pictures)
    assert 0 < np.abs(before[0] - after[0]).max() < 0.1
    assert (before[1] == after[1]).mean() > 0.95


def test_a_picture_gets_the_same_answer_in_every_batch(int8: Path, pictures: NDArray[np.uint8]) -> None:
    together, labels = answers(int8, pictures[:7])
    for number in range(7):
        alone, label = answers(int8, pictures[number : number + 1])
        np.testing.assert_allclose(alone[0], together[number], atol=2e-3)
        assert label.tolist() == [labels[number]]


def test_the_same_weights_are_published_once_a_type(
    run: RunCommand, exported: tuple[Path, Finished], int8: Path, learned: Path, cifar10_dir: Path
) -> None:
    before = snapshot(exported[0])
    command = ["export", "--run-dir", learned, "--data-dir", cifar10_dir, "--models-dir", exported[0]]
    again = run(*command, "--quantize", "int8")
    assert (again.status, again.output) == (0, f"These weights are published already: {int8}.\n")
    assert snapshot(exported[0]) == before


def test_the_same_graph_and_pictures_give_the_same_bytes(int8: Path, float32: Path, cifar10: Dataset) -> None:
    published = onnx.load_model(int8)
    weights = json.loads(metadata(int8)["quantization"])["weights"]
    repeated = to_int8(onnx.load_model(float32), cifar10.train, weights)
    assert repeated.graph.SerializeToString() == published.graph.SerializeToString()


@pytest.fixture
def misleading(cifar10: Dataset) -> Dataset:
    """Training pictures without any contrast: the ranges that they give the activations cut off what real ones need."""
    grey = Split(torch.full_like(cifar10.train.images[:64], 128), cifar10.train.labels[:64])
    test = Split(cifar10.test.images[:1000], cifar10.test.labels[:1000])
    return replace(cifar10, train=grey, test=test)


def test_refused_where_accuracy_falls_too_far(learned: Path, misleading: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        ExportFailed, match=r"In int8 precision @ 1 falls by \d+\.\d\d points, .*; nothing was publishe"
    ):
        export(RunDirectory(learned), misleading, tmp_path / "models", "cifar10", "int8")
    assert Publisher(tmp_path / "models", "cifar10").newest() is None


def test_no_room_for_the_files_in_between(
    float32: Path, few_pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setattr("tempfile.tempdir", str(missing))
    with pytest.raises(UserError, match=f"no room to quantize in {missing} .*TMPDIR"):
        to_int8(onnx.load_model(float32), few_pictures.train, ["network.conv2.weight"])


def test_the_benchmark_names_both_files(
    float32: Path, int8: Path, cifar10_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = quantization.parser().parse_args([str(float32), str(int8), "--rounds", "1", "--data-dir", str(cifar10_dir)])
    quantization.measure(args)
    printed = capsys.readouterr().out
    assert [line.split(" | ")[0] for line in printed.splitlines()[2:5]] == ["| 1", "| 8", "| 32"]
    for path in (float32, int8):
        assert f"- {path}: {path.stat().st_size:,} bytes, precision @ 1 " in printed


def test_a_type_that_there_is_not(run: RunCommand, learned: Path, cifar10_dir: Path, tmp_path: Path) -> None:
    finished = run(
        *("export", "--run-dir", learned, "--data-dir", cifar10_dir, "--models-dir", tmp_path, "--quantize", "int4")
    )
    assert finished.status == 2
    assert "invalid choice: 'int4'" in finished.errors
    assert list(tmp_path.iterdir()) == []
