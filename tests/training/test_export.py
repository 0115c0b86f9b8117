"""Exported bundles, opened with onnxruntime as the server will."""

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.training.plain_network import logits
from tests.training.processes import REPOSITORY, Finished, RunCommand, StartCommand
from tests.training.runs import final_state, small_recipe, snapshot, start_run
from training.bundle import Bundle, Publisher
from training.checkpoint import CheckpointDirectory
from training.dataset import Dataset
from training.errors import ExportFailed, UserError
from training.export import export
from training.provenance import now
from training.recipe import from_dict
from training.run_directory import RunDirectory

PUBLISHED = ["cifar10/1/model.onnx", "cifar10/config.pbtxt", "cifar10/labels.txt"]


@pytest.fixture(scope="module")
def exported(
    run: RunCommand, learned: Path, cifar10_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Finished]:
    """A models directory with one version, and what the export printed."""
    models = tmp_path_factory.mktemp("exported") / "deep" / "models"
    finished = run("export", "--run-dir", learned, "--data-dir", cifar10_dir, "--models-dir", models)
    assert finished.status == 0, finished.errors
    return models, finished


@pytest.fixture(scope="module")
def session(exported: tuple[Path, Finished]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = exported[0] / "cifar10" / "1" / "model.onnx"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def metadata(session: onnxruntime.InferenceSession) -> dict[str, str]:
    found: dict[str, str] = session.get_modelmeta().custom_metadata_map
    return found


def test_one_file_and_what_triton_wants_beside_it(exported: tuple[Path, Finished]) -> None:
    models, finished = exported
    assert sorted(snapshot(models)) == PUBLISHED
    assert sorted(path.name for path in (models / "cifar10").iterdir()) == ["1", "config.pbtxt", "labels.txt"]
    assert f"Published {models / 'cifar10' / '1' / 'model.onnx'}." in finished.output.splitlines()
    assert "Traceback" not in finished.errors


def test_inputs_and_outputs(session: onnxruntime.InferenceSession) -> None:
    (images,) = session.get_inputs()
    assert (images.name, images.type, images.shape[1:]) == ("images", "tensor(uint8)", [32, 32, 3])
    assert isinstance(images.shape[0], str)
    probabilities, label = session.get_outputs()
    assert (probabilities.name, probabilities.type, probabilities.shape[1:]) == ("probabilities", "tensor(float)", [10])
    assert (label.name, label.type, len(label.shape)) == ("label", "tensor(int64)", 1)


def test_graph_is_valid_and_has_no_slow_operator(exported: tuple[Path, Finished]) -> None:
    model = onnx.load_model(exported[0] / "cifar10" / "1" / "model.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert "LRN" not in {node.op_type for node in model.graph.node}


def test_metadata(metadata: dict[str, str], learned: Path, cifar10: Dataset) -> None:
    state = final_state(learned)
    expected = {
        "format_version": "1",
        "dataset": "cifar10",
        "eval_split": "test",
        "eval_pictures": "10000",
        "eval_data_sha256": cifar10.test.sha256(),
        "step": "60",
        "ema_decay": "0.9999",
        "source_revision": "0123abc",
    }
    assert {key: metadata[key] for key in expected} == expected
    assert metadata.keys() - expected.keys() == {
        *("class_names", "eval_accuracy", "eval_per_class_accuracy", "recipe", "weights_sha256", "libraries", "created")
    }
    assert json.loads(metadata["class_names"]) == list(cifar10.class_names)
    recipe = json.loads(metadata["recipe"])
    assert recipe["name"] == "awake"
    assert from_dict(recipe) == from_dict(state["recipe"])
    assert re.fullmatch("[0-9a-f]{64}", metadata["weights_sha256"])
    libraries = json.loads(metadata["libraries"])
    assert {name: libraries[name] for name in ("torch", "onnx")} == {name: version(name) for name in ("torch", "onnx")}
    assert libraries["python"].startswith("3.")
    assert datetime.fromisoformat(metadata["created"]).utcoffset() == timedelta(0)


def test_no_path_of_this_machine_is_inside(exported: tuple[Path, Finished], learned: Path) -> None:
    content = (exported[0] / "cifar10" / "1" / "model.onnx").read_bytes()
    for path in (
        REPOSITORY,
        learned,
        exported[0],
        Path.home(),
        Path(torch.__file__).parent,
        Path(json.__file__).parent,
    ):
        assert str(path).encode() not in content


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_answers_are_those_of_the_averaged_weights(
    session: onnxruntime.InferenceSession, learned: Path, cifar10: Dataset, batch: int
) -> None:
    images = cifar10.test.images[100 : 100 + batch]
    probabilities, labels = session.run(None, {"images": images.permute(0, 2, 3, 1).contiguous().numpy()})
    expected = logits(final_state(learned)["averages"], images).softmax(dim=1)
    np.testing.assert_allclose(probabilities, expected.numpy(), atol=1e-4, rtol=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert labels.tolist() == expected.argmax(dim=1).tolist()


def test_accuracy_is_that_of_a_recount(
    session: onnxruntime.InferenceSession, metadata: dict[str, str], cifar10: Dataset, exported: tuple[Path, Finished]
) -> None:
    pictures = cifar10.test.images.permute(0, 2, 3, 1).contiguous().numpy()
    found = np.concatenate([session.run(["label"], {"images": part})[0] for part in np.split(pictures, 20)])
    labels = cifar10.test.labels.numpy()
    accuracy = float((found == labels).mean())
    assert accuracy > 0.2
    assert float(metadata["eval_accuracy"]) == pytest.approx(accuracy, abs=2.5e-4)  # a level picture or two
    per_class = json.loads(metadata["eval_per_class_accuracy"])
    assert list(per_class) == list(cifar10.class_names)
    for label, name in enumerate(cifar10.class_names):
        assert per_class[name] == pytest.approx((found == labels)[labels == label].mean(), abs=2.5e-3)
    assert f"{float(metadata['eval_accuracy']):.4f}" in exported[1].output


def test_the_same_weights_are_not_published_twice(
    run: RunCommand, exported: tuple[Path, Finished], learned: Path, cifar10_dir: Path
) -> None:
    models, _ = exported
    before = snapshot(models)
    again = run("export", "--run-dir", learned, "--data-dir", cifar10_dir, "--models-dir", models)
    assert again.status == 0
    assert f"published already: {models / 'cifar10' / '1' / 'model.onnx'}" in again.output
    assert snapshot(models) == before


@pytest.fixture(scope="module")
def small_run(few_pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = start_run(tmp_path_factory.mktemp("small"), few_pictures, small_recipe(3))
    run.run_dir.write_description({"dataset": "cifar10", "source_revision": "0123abc", "started": now()})
    run.train()
    return run.run_dir


def publish_with_accuracy(models: Path, source: Path, accuracy: str) -> None:
    """Version 1, a bundle of other weights that says it is so accurate."""
    model = onnx.load_model(source)
    for entry in model.metadata_props:
        if entry.key == "eval_accuracy":
            entry.value = accuracy
    (models / "cifar10" / "1").mkdir(parents=True)
    onnx.save_model(model, models / "cifar10" / "1" / "model.onnx")


@pytest.mark.parametrize(("before", "warned"), [("0.9876", True), ("0.0", False)])
def test_superseding_a_version(
    exported: tuple[Path, Finished],
    small_run: RunDirectory,
    few_pictures: Dataset,
    tmp_path: Path,
    before: str,
    warned: bool,
) -> None:
    models = tmp_path / "our models"
    publish_with_accuracy(models, exported[0] / "cifar10" / "1" / "model.onnx", before)
    sentences: list[str] = []
    export(small_run, few_pictures, models, "cifar10", say=sentences.append)
    new = models / "cifar10" / "2"
    assert f"Published {new / 'model.onnx'}." in sentences
    told = [sentence for sentence in sentences if "was more accurate" in sentence]
    assert len(told) == warned
    if warned:
        assert "Version 1, which it supersedes, was more accurate (0.9876 against 0." in told[0]
        command = told[0].partition("To go back: ")[2]
        assert shlex.split(command)[:1] == ["rm"]
        subprocess.run(command, shell=True, check=True, timeout=10)
        assert sorted(snapshot(models)) == PUBLISHED


def test_a_bundle_that_fails_its_check_is_not_published(
    small_run: RunDirectory, few_pictures: Dataset, tmp_path: Path
) -> None:
    run_dir = RunDirectory(Path(shutil.copytree(small_run.path, tmp_path / "run")))
    state = final_state(run_dir.path)
    state["averages"]["softmax_linear.bias"][3] = float("nan")
    CheckpointDirectory(run_dir.path / "checkpoints").save(4, state)
    with pytest.raises(ExportFailed, match=r"onnxruntime and PyTorch disagree at batch 1: .*; nothing was published"):
        export(run_dir, few_pictures, tmp_path / "models", "cifar10")
    assert Publisher(tmp_path / "models", "cifar10").newest() is None


def test_other_classes_supersede_only_where_the_model_is_named(
    small_run: RunDirectory, few_pictures: Dataset, tmp_path: Path
) -> None:
    others = replace(few_pictures, class_names=(*few_pictures.class_names[:-1], "lorry"))
    export(small_run, others, tmp_path)
    with pytest.raises(UserError, match=r"1/model.onnx knows other classes; add --name cifar10 to supersede it"):
        export(small_run, few_pictures, tmp_path)
    export(small_run, few_pictures, tmp_path, "cifar10")
    assert Publisher(tmp_path, "cifar10").newest() == Bundle(2, tmp_path / "cifar10" / "2" / "model.onnx")


def test_the_same_weights_are_published_again_where_they_are_measured_on_other_pictures(
    small_run: RunDirectory, few_pictures: Dataset, tmp_path: Path
) -> None:
    corrected = replace(few_pictures, test=replace(few_pictures.test, labels=few_pictures.test.labels.roll(1)))
    for dataset, expected in ((few_pictures, 1), (corrected, 2), (corrected, 2)):
        export(small_run, dataset, tmp_path, "cifar10")
        newest = Publisher(tmp_path, "cifar10").newest()
        assert newest is not None
        assert newest.version == expected
        assert newest.metadata()["eval_data_sha256"] == dataset.test.sha256()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "-x", "a" * 129])
def test_a_name_that_cannot_be_a_folder(
    small_run: RunDirectory, few_pictures: Dataset, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UserError, match="cannot be a model's name"):
        export(small_run, few_pictures, tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(small_run: RunDirectory, few_pictures: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/models/cifar10 cannot be written to \(Not a directory\); make room or"):
        export(small_run, few_pictures, tmp_path / "file" / "models", "cifar10")


def test_killed_while_it_publishes(
    start: StartCommand, run: RunCommand, small_run: RunDirectory, tmp_path: Path, cifar10_dir: Path
) -> None:
    folder = tmp_path / "cifar10"
    words = ("export", "--run-dir", small_run.path, "--data-dir", cifar10_dir, "--models-dir", tmp_path)
    command = start(*words)
    command.wait_for(lambda: list(folder.glob("*")))
    command.kill()
    for path in folder.glob("[0-9]*"):
        onnx.checker.check_model(onnx.load_model(path / "model.onnx"))

    again = run(*words)
    assert again.status == 0, again.errors
    assert sorted(name for name in snapshot(tmp_path) if "/." not in name) == PUBLISHED
