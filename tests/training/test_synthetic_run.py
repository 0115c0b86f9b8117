"""Without CIFAR-10, from nothing to a published bundle, by the commands that a person types."""

import json
from pathlib import Path

import onnxruntime
import pytest

from tests.training.processes import RunCommand
from training.synthetic import CLASS_NAMES


@pytest.fixture(scope="module")
def run_dir(run: RunCommand, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "run"
    where = ["--run-dir", path, "--data-dir", path / "no such folder"]
    finished = run("train", "--data", "synthetic", *where, "--steps", 5, "--batch-size", 8)
    assert finished.status == 0, finished.errors
    assert "recipe tutorial on synthetic for 5 steps" in finished.output
    return path


def test_evaluated(run: RunCommand, run_dir: Path) -> None:
    (run_dir / "eval.json").unlink()
    finished = run("eval", "--run-dir", run_dir)
    assert finished.status == 0, finished.errors
    content = json.loads((run_dir / "eval.json").read_bytes())
    assert (content["dataset"], content["pictures"], content["step"]) == ("synthetic", 4_000, 5)
    assert tuple(content["per_class"]) == CLASS_NAMES


def test_published_under_its_own_name(run: RunCommand, run_dir: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    finished = run("export", "--run-dir", run_dir, "--models-dir", models)
    assert finished.status == 0, finished.errors
    assert [path.name for path in models.iterdir()] == ["synthetic"]
    path = models / "synthetic" / "1" / "model.onnx"
    metadata = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_modelmeta()
    found = metadata.custom_metadata_map
    assert (found["dataset"], found["eval_pictures"], found["step"]) == ("synthetic", "4000", "5")
    assert tuple(json.loads(found["class_names"])) == CLASS_NAMES


def test_never_published_as_cifar10(run: RunCommand, run_dir: Path, tmp_path: Path) -> None:
    finished = run("export", "--run-dir", run_dir, "--models-dir", tmp_path, "--name", "cifar10")
    assert "cifar10" in finished.refusal()
    assert not list(tmp_path.glob("*/*"))
