"""Reports of runs and data sets that are not as most are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.html_page import Page, check_self_contained
from tests.training.reports import probabilities_of, with_clear_pictures, with_history
from tests.training.runs import small_recipe, start_run
from training.dataset import Dataset, Split
from training.errors import UserError
from training.report.run_report import write_report
from training.run_directory import RunDirectory

CPU = torch.device("cpu")

HOSTILE = (
    "<b>&amp;",
    "$x_1^2$ $",
    "_under",
    "\"quoted\" 'too'",
    "猫" * 12,
    "long " * 12,
    "a\nb\0",
    "naïve café",
    "{{ 1 }}",
)


@pytest.mark.parametrize("classes", [2, 9, 20, 100, 1000])
def test_any_number_of_classes_with_any_names(classes: int, few_pictures: Dataset, tmp_path: Path) -> None:
    names = tuple(HOSTILE[:classes]) + tuple(f"class {number}" for number in range(classes - len(HOSTILE)))
    labels = [torch.arange(len(split)) * 7 % classes for split in (few_pictures.train, few_pictures.test)]
    dataset = Dataset(
        "other", names, Split(few_pictures.train.images, labels[0]), Split(few_pictures.test.images, labels[1])
    )
    page = Page(report_of(dataset, tmp_path))
    check_self_contained(page)
    assert (tmp_path / "report.html").stat().st_size < 1_000_000
    rows = page.part("Every class in numbers").rows()[1:]
    assert [row[0] for row in rows] == [" ".join(name.split()) for name in names]
    assert [row[1] for row in rows].count("no pictures") == max(0, classes - 100)
    bars = [each.text() for each in page.figure("Accuracy of each class").all("text")]
    assert len([text for text in bars if text.endswith("%")]) == min(classes, 30)
    numbers = [each for each in page.figure("Who is taken for whom").all("text") if each.text().isdecimal()]
    assert bool(numbers) == (classes <= 20)
    labels_shown = len(page.figure("Who is taken for whom").all("text"))
    assert labels_shown < 150 or classes <= 20


def report_of(dataset: Dataset, path: Path) -> Path:
    """The report of a network that has learned nothing."""
    run = start_run(path, dataset, small_recipe(2))
    run.run_dir.write_description({"recipe": small_recipe(2).as_dict(), "dataset": dataset.name})
    run.train()
    return write_report(run.run_dir, dataset, CPU)


@pytest.fixture(scope="module")
def thousand(learned: Path, cifar10: Dataset) -> Dataset:
    return with_clear_pictures(cifar10, learned)


@pytest.fixture
def copied(learned: Path, tmp_path: Path) -> Path:
    return with_history(learned, tmp_path / "copied")


def relabelled(dataset: Dataset, labels: torch.Tensor) -> Dataset:
    return replace(dataset, test=Split(dataset.test.images, labels))


def test_a_network_without_mistakes(copied: Path, thousand: Dataset) -> None:
    dataset = relabelled(thousand, probabilities_of(copied, thousand.test.images).argmax(dim=1))
    page = Page(write_report(RunDirectory(copied), dataset, CPU))
    check_self_contained(page)
    assert page.all("data")[0].text() == "100.00 %"
    assert "every test picture is recognized" in page.section("The most confident mistakes").text()
    assert "No class is taken for another." in page.section("Classes").text()


def test_one_class_alone_has_pictures(copied: Path, thousand: Dataset) -> None:
    dataset = relabelled(thousand, torch.full_like(thousand.test.labels, 3))
    page = Page(write_report(RunDirectory(copied), dataset, CPU))
    check_self_contained(page)
    assert page.text().count("no pictures") == 9
    (name,) = [text.text() for text in page.figure("Accuracy of each class").all("text") if "%" not in text.text()]
    assert name == "cat"


def test_a_run_without_a_history(copied: Path, thousand: Dataset) -> None:
    (copied / "metrics.jsonl").unlink()
    page = Page(write_report(RunDirectory(copied), thousand, CPU))
    check_self_contained(page)
    assert "kept no record of its losses and its speed" in page.section("Training").text()
    assert page.section("Training").all("svg") == []


def test_one_record_and_no_evaluation(copied: Path, thousand: Dataset) -> None:
    first = (copied / "metrics.jsonl").read_text().splitlines()[1]
    (copied / "metrics.jsonl").write_text(first + "\n")
    page = Page(write_report(RunDirectory(copied), thousand, CPU))
    check_self_contained(page)
    assert len(page.section("Training").all("svg")) == 3


def test_a_learning_rate_that_always_moves_is_told_without_marks(copied: Path, thousand: Dataset) -> None:
    records = list(map(json.loads, (copied / "metrics.jsonl").read_text().splitlines()))
    trained = [record for record in records if record["kind"] == "train"]
    for rate, record in zip((0.24, 0.2, 0.16, 0.12, 0.08, 0.04), trained, strict=True):
        record["learning_rate"] = rate
    (copied / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    figure = Page(write_report(RunDirectory(copied), thousand, CPU)).figure("Loss")
    assert "The learning rate moves from 0.24 to 0.04." in figure.text()
    assert "0.12" not in [label.text() for label in figure.all("text")]  # as a dashed line would be called


def test_a_run_that_has_not_come_to_its_end(copied: Path, thousand: Dataset) -> None:
    description = json.loads((copied / "recipe.json").read_bytes())
    description["recipe"]["steps"] = 60_000
    (copied / "recipe.json").write_text(json.dumps(description))
    page = Page(write_report(RunDirectory(copied), thousand, CPU))
    assert "has come as far as step 60 of 60,000" in page.text()
    assert "The command trains all 60,000 steps." in page.text()


def test_refusals(copied: Path, thousand: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a training run"):
        write_report(RunDirectory(tmp_path / "none"), thousand, CPU)
    (copied / "report.html").unlink(missing_ok=True)
    (copied / "report.html").mkdir()
    with pytest.raises(UserError, match=r"report\.html could not be written"):
        write_report(RunDirectory(copied), thousand, CPU)
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(UserError, match="has no checkpoint yet"):
        write_report(RunDirectory(copied), thousand, CPU)
    (copied / "recipe.json").write_text('{"dataset": "cifar10", "recipe": {"name": "tutorial", "steps": 5}}')
    with pytest.raises(UserError, match=r"recipe\.json is damaged \(its recipe has no batch_size\)"):
        write_report(RunDirectory(copied), thousand, CPU)
