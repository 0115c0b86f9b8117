"""`report` and `compare` as commands, and the report that `train` ends with."""

import re
import shutil
from pathlib import Path

import pytest

from tests.training.processes import Finished, RunCommand
from tests.training.runs import TRAINED_STEPS, train_command

Trained = tuple[Path, Finished]


@pytest.fixture(scope="module")
def reported(run: RunCommand, tmp_path_factory: pytest.TempPathFactory, cifar10_dir: Path) -> Trained:
    run_dir = tmp_path_factory.mktemp("reported") / "run"
    finished = run(*train_command(run_dir, cifar10_dir, 30, "--learning-rate", 0.05, "--report"))
    assert finished.status == 0, finished.errors
    return run_dir, finished


def test_a_training_ends_with_its_report(reported: Trained) -> None:
    run_dir, finished = reported
    assert finished.errors == ""
    assert finished.output.splitlines()[-1] == f"The report is {run_dir / 'report.html'}."
    assert (run_dir / "report.html").read_text().startswith("<!doctype html>")


def test_report_writes_the_same_page_again(
    run: RunCommand, reported: Trained, tmp_path: Path, cifar10_dir: Path
) -> None:
    run_dir = Path(shutil.copytree(reported[0], tmp_path / "run"))
    (run_dir / "report.html").unlink()
    finished = run("report", run_dir, "--data-dir", cifar10_dir)
    assert (finished.status, finished.errors) == (0, "")
    assert finished.output == f"The report is {run_dir / 'report.html'}.\n"
    assert (run_dir / "report.html").read_bytes() == (reported[0] / "report.html").read_bytes()


def test_compare_prints_a_table_and_writes_a_page(
    run: RunCommand, reported: Trained, trained: Trained, tmp_path: Path
) -> None:
    page = tmp_path / "both.html"
    finished = run("compare", reported[0], trained[0], "--output", page)
    assert (finished.status, finished.errors) == (0, "")
    rows = [re.split(r"\s{2,}", line.strip()) for line in finished.output.splitlines()]
    assert ["steps", "30 of 30", f"{TRAINED_STEPS} of {TRAINED_STEPS}"] in rows
    assert ["learning_rate", "0.05", "0.1"] in rows
    assert finished.output.splitlines()[-1] == f"Written to {page}."
    assert page.read_text().count("<svg") == 4


@pytest.mark.parametrize("command", ["report", "compare"])
def test_what_is_no_run_is_refused(run: RunCommand, trained: Trained, tmp_path: Path, command: str) -> None:
    before = [trained[0]] if command == "compare" else []
    page = ["--output", tmp_path / "page.html"] if command == "compare" else []
    sentence = run(command, *before, tmp_path / "nothing", *page).refusal()
    assert f"{tmp_path / 'nothing'} is not a training run (it has no recipe.json)" in sentence
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_checkpoint_is_refused(
    run: RunCommand, trained: Trained, tmp_path: Path, cifar10_dir: Path
) -> None:
    run_dir = Path(shutil.copytree(trained[0], tmp_path / "run"))
    shutil.rmtree(run_dir / "checkpoints")
    assert "has no checkpoint yet" in run("report", run_dir, "--data-dir", cifar10_dir).refusal()
    assert not (run_dir / "report.html").exists()


def test_a_page_that_cannot_be_written(run: RunCommand, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    page = tmp_path / "file" / "page.html"
    assert f"{page} could not be written" in run("compare", trained[0], "--output", page).refusal()
