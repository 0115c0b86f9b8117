"""Precision @ 1: every test picture once, with the averaged weights, as an independent count finds it."""

import json
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.plain_network import logits
from tests.training.processes import Finished, RunCommand
from tests.training.runs import final_state
from training.dataset import Dataset


@pytest.fixture(scope="module")
def evaluated(
    run: RunCommand, learned: Path, cifar10_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Finished]:
    """eval.json, and what was printed."""
    run_dir = Path(shutil.copytree(learned, tmp_path_factory.mktemp("evaluated") / "run"))
    (run_dir / "eval.json").unlink()
    finished = run("eval", "--run-dir", run_dir, "--data-dir", cifar10_dir)
    assert finished.status == 0, finished.errors
    return json.loads((run_dir / "eval.json").read_bytes()), finished


@pytest.fixture(scope="module")
def counted(learned: Path, cifar10: Dataset) -> dict[str, torch.Tensor]:
    """Whether each test picture is recognized: bool [10000] with averaged weights, [1000] with the raw ones."""
    state, test = final_state(learned), cifar10.test
    return {
        weights: logits(state[weights], test.images[:count]).argmax(dim=1) == test.labels[:count]
        for weights, count in (("averages", 10_000), ("network", 1_000))
    }


def test_every_picture_counts_once(evaluated: tuple[dict[str, Any], Finished]) -> None:
    content, _ = evaluated
    assert content["pictures"] == 10_000
    assert content["precision_at_1"] == content["correct"] / 10_000
    assert content["correct"] == pytest.approx(1_000 * sum(content["per_class"].values()))


def test_agrees_with_an_independent_count_of_the_averaged_weights(
    evaluated: tuple[dict[str, Any], Finished], counted: dict[str, torch.Tensor], cifar10: Dataset
) -> None:
    content, _ = evaluated
    right = counted["averages"]
    # Another order of additions may tip a picture whose two best classes are level.
    assert content["correct"] == pytest.approx(int(right.sum()), abs=2)
    assert list(content["per_class"]) == list(cifar10.class_names)
    for label, name in enumerate(cifar10.class_names):
        mine = right[cifar10.test.labels == label].float().mean().item()
        assert content["per_class"][name] == pytest.approx(mine, abs=0.002), name
    assert content["precision_at_1"] > 0.2, "a network that recognizes nothing proves nothing"
    assert (counted["network"] != right[:1_000]).sum() > 10, "raw and averaged weights can't be told apart"


def test_json_says_what_was_measured(evaluated: tuple[dict[str, Any], Finished], cifar10: Dataset) -> None:
    content, _ = evaluated
    assert content["step"] == 60
    assert (content["weights"], content["dataset"], content["split"]) == ("averaged", "cifar10", "test")
    assert content["data_sha256"] == cifar10.test.sha256()
    assert datetime.fromisoformat(content["evaluated"]).utcoffset() == timedelta(0)


def test_what_is_printed(evaluated: tuple[dict[str, Any], Finished], cifar10: Dataset) -> None:
    content, finished = evaluated
    expected = f"step 60: precision @ 1 = {content['precision_at_1']:.4f} ({content['correct']} of 10000 test pictures)"
    assert expected in finished.output.splitlines()
    for name in cifar10.class_names:
        assert re.search(rf"^  {name} +{content['per_class'][name]:.4f}$", finished.output, re.MULTILINE)
    assert finished.errors == ""


def test_a_run_directory_that_cannot_be_written_to(
    run: RunCommand, learned: Path, tmp_path: Path, cifar10_dir: Path
) -> None:
    run_dir = Path(shutil.copytree(learned, tmp_path / "run"))
    shutil.rmtree(run_dir / "eval")
    (run_dir / "eval").write_text("in the way")
    sentence = run("eval", "--run-dir", run_dir, "--data-dir", cifar10_dir).refusal()
    assert f"{run_dir / 'eval'} cannot be written to (File exists)" in sentence


def test_pictures_that_are_not_there(run: RunCommand, learned: Path, tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-bin").mkdir()
    sentence = run("eval", "--run-dir", learned, "--data-dir", tmp_path).refusal()
    assert "data_batch_1.bin is missing" in sentence
