"""A folder of people's own pictures, from the files to a published bundle, by the commands that a person types."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.training.picture_folders import ODD_NAMES, numbered, write_flat_pictures, write_real_pictures
from tests.training.processes import Finished, RunCommand
from tests.training.ranks import run_ranks
from tests.training.runs import checkpoint_names, final_state
from training.choices import FOLDER
from training.dataset import Dataset
from training.errors import UserError
from training.named_datasets import load

TRAIN, TEST = 5 * 12 + 1, 5 * 6
SMALL = ["--steps", 5, "--batch-size", 8, "--seed", 3, "--precision", "fp32"]


@pytest.fixture(scope="module")
def flowers(cifar10: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "Fleurs d'été"
    write_real_pictures(folder, cifar10, 12, 6)
    for path in ("read me.txt", "train/lonely/notes.txt", ".DS_Store", "train/.hidden/a.png", "train/Élan/Thumbs.db"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def trained(run: RunCommand, flowers: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """A run directory, and what the command printed."""
    run_dir = tmp_path_factory.mktemp("run") / "run"
    finished = run("train", "--data", f"{FOLDER}{flowers}", "--run-dir", run_dir, *SMALL)
    assert finished.status == 0, finished.errors
    return run_dir, finished


def test_told_what_is_in_the_folder(trained: tuple[Path, Finished]) -> None:
    output = trained[1].output
    passed_over = '"train/.hidden/", "read me.txt" and "train/lonely/notes.txt"'
    assert f"Passed over, as no pictures of a class: {passed_over}." in output
    assert f"Fleurs-d-ete: 6 classes, {TRAIN} training and {TEST} test pictures, stored as 32 x 32 pixels." in output
    assert 'The largest class, "<b>&amp;", has 12 training pictures, the smallest, "lonely", 1.' in output
    assert 'Warning: "<b>&amp;" has 12 times as many training pictures as "lonely"' in output
    assert 'Warning: 1 class has fewer than 10 training pictures: "lonely".' in output
    assert 'Warning: 1 class has no test picture, so no accuracy of its own: "lonely".' in output


def test_remembered_with_its_place(trained: tuple[Path, Finished], flowers: Path) -> None:
    described = json.loads((trained[0] / "recipe.json").read_bytes())
    assert described["dataset"] == f"folder:{flowers}"
    assert (described["test_share"], described["training_pictures"]) == (None, TRAIN)
    assert described["class_names"] == sorted(ODD_NAMES)


def test_evaluated_without_a_word_about_the_data(run: RunCommand, trained: tuple[Path, Finished]) -> None:
    run_dir = trained[0]
    (run_dir / "eval.json").unlink()
    finished = run("eval", "--run-dir", run_dir)
    assert finished.status == 0, finished.errors
    content = json.loads((run_dir / "eval.json").read_bytes())
    assert (content["dataset"], content["pictures"], content["step"]) == ("Fleurs-d-ete", TEST, 5)
    assert list(content["per_class"]) == sorted(set(ODD_NAMES) - {"lonely"})
    assert "Decoding" not in finished.output


def test_report_shows_every_class(run: RunCommand, trained: tuple[Path, Finished]) -> None:
    page = trained[0] / "report.html"
    page.unlink()
    finished = run("report", trained[0])
    assert finished.status == 0, finished.errors
    text = page.read_text()
    for name in ("rose garden", "Élan", "狐 🦊", "&lt;b&gt;&amp;amp;"):
        assert name in text
    assert "<b>&amp;" not in text


def test_published_under_a_name_that_an_address_can_hold(
    run: RunCommand, trained: tuple[Path, Finished], tmp_path: Path
) -> None:
    finished = run("export", "--run-dir", trained[0], "--models-dir", tmp_path)
    assert finished.status == 0, finished.errors
    assert [path.name for path in tmp_path.iterdir()] == ["Fleurs-d-ete"]
    session = onnxruntime.InferenceSession(
        tmp_path / "Fleurs-d-ete" / "1" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    metadata = session.get_modelmeta().custom_metadata_map
    assert (metadata["dataset"], metadata["eval_pictures"]) == ("Fleurs-d-ete", str(TEST))
    assert json.loads(metadata["class_names"]) == sorted(ODD_NAMES)
    assert "lonely" not in json.loads(metadata["eval_per_class_accuracy"])
    (images,) = session.get_inputs()
    assert images.shape[1:] == [32, 32, 3]


@pytest.mark.parametrize("command", ["eval", "report", "export"])
def test_a_folder_that_has_moved(
    run: RunCommand, trained: tuple[Path, Finished], flowers: Path, tmp_path: Path, command: str
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(trained[0], run_dir)
    described = json.loads((run_dir / "recipe.json").read_bytes())
    gone = tmp_path / "gone"
    (run_dir / "recipe.json").write_text(json.dumps(described | {"dataset": f"folder:{gone}"}))
    words = [command, *([run_dir] if command == "report" else ["--run-dir", run_dir])]
    words += ["--models-dir", tmp_path / "models"] if command == "export" else []
    refusal = run(*words).refusal()
    assert refusal.startswith(f"{gone}, which the run was trained on, is not there any more; if it has been moved,")
    finished = run(*words, "--data", f"folder:{flowers}")
    assert finished.status == 0, finished.errors


def test_other_classes_than_were_trained(run: RunCommand, trained: tuple[Path, Finished], tmp_path: Path) -> None:
    other = write_flat_pictures(tmp_path / "other", numbered({"lonely": 9, "new line": 9}))
    refusal = run("eval", "--run-dir", trained[0], "--data", f"folder:{other}").refusal()
    assert "has other classes than when the run was trained" in refusal
    assert '"new line"' in refusal


def test_resumed_after_a_move(run: RunCommand, trained: tuple[Path, Finished], flowers: Path, tmp_path: Path) -> None:
    moved, run_dir = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(flowers, moved)
    shutil.copytree(trained[0], run_dir)
    resume = ["train", "--run-dir", run_dir, "--steps", 8, "--resume", "--data", f"folder:{moved}"]
    finished = run(*resume)
    assert finished.status == 0, finished.errors
    assert "from step 5," in finished.output
    assert json.loads((run_dir / "recipe.json").read_bytes())["dataset"] == f"folder:{moved}"
    next((moved / "train" / "Élan").glob("*.png")).unlink()
    assert "was trained with other training pictures;" in run(*resume).refusal()


def test_ranks_decode_once_and_agree(run: RunCommand, cifar10: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    write_real_pictures(folder, cifar10, 6, 3)
    words = ["train", "--data", f"folder:{folder}", *SMALL[:2], "--seed", 3, "--precision", "fp32", "--no-report"]
    ranks = run_ranks(2, [*words, "--global-batch", 8, "--run-dir", tmp_path / "two"], tmp_path)
    assert [finished.status for finished in ranks] == [0, 0], ranks
    assert ranks[0].output.count("Decoding 46 pictures") == 1
    assert ranks[1].output == ""
    alone = run(*words, "--global-batch", 8, "--run-dir", tmp_path / "one")
    assert "Decoding" not in alone.output
    assert len(checkpoint_names(tmp_path / "one")) == 1
    states = [final_state(tmp_path / name)["network"] for name in ("one", "two")]
    assert all(np.allclose(states[0][key], states[1][key], atol=1e-6) for key in states[0])


def test_ranks_are_refused_once(tmp_path: Path) -> None:
    words = ["train", "--data", f"folder:{tmp_path / 'none'}", "--run-dir", tmp_path / "run"]
    ranks = run_ranks(2, words, tmp_path / "ranks")
    assert [finished.status for finished in ranks] == [2, 2]
    assert [bool(finished.errors) for finished in ranks] == [True, False]
    assert not (tmp_path / "run").exists()


def test_fetched_at_another_size(run: RunCommand, flowers: Path, tmp_path: Path) -> None:
    sample = tmp_path / "sample.png"
    finished = run("fetch", "--data", f"folder:{flowers}", "--image-size", 64, "--sample", sample)
    assert finished.status == 0, finished.errors
    assert "stored as 64 x 64 pixels" in finished.output
    with Image.open(sample) as picture:
        assert picture.size == (64, 64)


def test_trained_and_published_at_another_size(run: RunCommand, flowers: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    asked = ["--data", f"folder:{flowers}", "--recipe", "fast", "--image-size", 40, *SMALL, "--no-report"]
    finished = run("train", *asked, "--run-dir", run_dir)
    assert finished.status == 0, finished.errors
    assert json.loads((run_dir / "recipe.json").read_bytes())["recipe"]["image_size"] == 40
    finished = run("export", "--run-dir", run_dir, "--models-dir", tmp_path)
    assert finished.status == 0, finished.errors
    session = onnxruntime.InferenceSession(
        tmp_path / "Fleurs-d-ete" / "1" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert session.get_inputs()[0].shape[1:] == [40, 40, 3]

    temperature = session.get_modelmeta().custom_metadata_map["temperature"]
    assert 0 < float(temperature) != 1
    finished = run("report", run_dir)
    assert finished.status == 0, finished.errors
    assert f'divided by <data value="{temperature}">' in (run_dir / "report.html").read_text()


def test_a_label_is_that_of_the_files_folder(tmp_path: Path) -> None:
    colors = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}
    for name, color in colors.items():
        for number in range(20):
            path = tmp_path / "colors" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 7), color).save(path)
    dataset = load(f"folder:{tmp_path / 'colors'}", None)
    assert dataset.class_names == ("blue", "green", "red")
    for split in (dataset.train, dataset.test):
        found = [tuple(image[:, 3, 3].tolist()) for image in split.images]
        assert found == [colors[dataset.class_names[label]] for label in split.labels]
    assert len(dataset.train) + len(dataset.test) == 60


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "cifar10", "--image-size", 64], r"The recipe tutorial is for pictures of 32 x 32 pixels"),
        (["--data", "synthetic", "--test-share", 0.3], r"synthetic says which pictures are for testing"),
    ],
)
def test_what_is_for_folders_alone(run: RunCommand, tmp_path: Path, arguments: list[object], sentence: str) -> None:
    assert sentence in run("train", *arguments, "--run-dir", tmp_path / "run").refusal()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["cifar10", "synthetic"])
def test_the_size_of_other_sets_is_what_it_is(name: str) -> None:
    with pytest.raises(
        UserError, match=f"The pictures of {name} have 32 x 32 pixels; leave --image-size out, or train"
    ):
        load(name, None, 64)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", "folder:"], "invalid choice: 'folder:' (choose from cifar10, synthetic, folder:PATH)"),
        (["--data", "folder:caf\udce9"], r"caf\udce9' is not UTF-8; rename the folder, or make a link to it"),
        (["--image-size", "31"], "'31' is not a whole number from 32 to 224"),
        (["--image-size", "225"], "'225' is not a whole number from 32 to 224"),
        (["--test-share", "1"], "'1' is not a number between 0 and 1"),
        (["--test-share", "0"], "'0' is not a number greater than 0"),
    ],
)
def test_refused_arguments(run: RunCommand, arguments: list[str], complaint: str) -> None:
    refused = run("train", *arguments)
    assert refused.status == 2
    assert complaint in refused.errors.splitlines()[-1]
