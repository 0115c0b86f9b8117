"""The page in which a run explains itself, read as a program reads it, and compared with what the run's files say."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.html_page import Page, check_self_contained
from tests.training.reports import PICTURES, probabilities_of, with_clear_pictures, with_history
from tests.training.runs import final_state
from training.dataset import Dataset
from training.report.run_report import write_report
from training.run_directory import RunDirectory

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def thousand(learned: Path, cifar10: Dataset) -> Dataset:
    return with_clear_pictures(cifar10, learned)


@pytest.fixture(scope="module")
def run_dir(learned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to, but for its report."""
    return with_history(learned, tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def page(run_dir: Path, thousand: Dataset) -> Page:
    return Page(write_report(RunDirectory(run_dir), thousand, CPU))


@pytest.fixture(scope="module")
def probabilities(run_dir: Path, thousand: Dataset) -> torch.Tensor:
    """float32 [1000, 10]"""
    return probabilities_of(run_dir, thousand.test.images)


def test_one_file_that_needs_nothing_else(run_dir: Path, page: Page) -> None:
    check_self_contained(page)
    assert (run_dir / "report.html").stat().st_size < 1_000_000
    assert len(page.all("svg")) == 7


def test_the_same_run_gives_the_same_bytes(run_dir: Path, page: Page, thousand: Dataset) -> None:
    assert page.all("h1")
    before = (run_dir / "report.html").read_bytes()
    write_report(RunDirectory(run_dir), thousand, CPU)
    assert (run_dir / "report.html").read_bytes() == before


def test_the_accuracy_is_the_evaluation_s(learned: Path, few_pictures: Dataset, tmp_path: Path) -> None:
    path = Path(shutil.copytree(learned, tmp_path / "run"))
    evaluated = json.loads((path / "eval.json").read_bytes())
    page = Page(write_report(RunDirectory(path), few_pictures, CPU))
    assert float(page.all("data")[0].attributes["value"]) == evaluated["precision_at_1"] > 0.1
    assert page.all("data")[0].text() == f"{100 * evaluated['precision_at_1']:.2f} %"
    assert f"{evaluated['correct']} of {evaluated['pictures']}." in page.text()


def test_what_it_says_at_the_top(page: Page) -> None:
    facts = dict(zip([each.text() for each in page.all("dt")], [each.text() for each in page.all("dd")], strict=True))
    assert page.all("h1")[0].text() == "awake on cifar10"
    assert facts["Steps"] == "60"
    assert facts["Pictures a second"] == "640"
    assert facts["Time spent training"] == f"{51 * 64 / 640:.1f} s"  # 51 updates up to the last record
    assert facts["Device"] == "CPU, 2 threads"


def test_the_confusion_matrix_counts_every_picture_once(
    page: Page, probabilities: torch.Tensor, thousand: Dataset
) -> None:
    expected = torch.zeros(10, 10, dtype=torch.int64)
    expected.index_put_((thousand.test.labels, probabilities.argmax(dim=1)), torch.tensor(1), accumulate=True)
    numbers = [each.text() for each in page.figure("Who is taken for whom").all("text") if each.text().isdecimal()]
    assert sum(map(int, numbers)) == PICTURES
    assert sorted(map(int, numbers)) == sorted(expected[expected > 0].tolist())

    rows = page.part("Every class in numbers").rows()[1:]
    assert [row[0] for row in rows] == list(thousand.class_names)
    assert [int(row[1]) for row in rows] == expected.sum(dim=1).tolist()
    shares = expected.diagonal() / expected.sum(dim=1)
    assert [row[2] for row in rows] == [f"{100 * share:.1f} %" for share in shares.tolist()]


def test_the_pairs_confused_most_often(page: Page, probabilities: torch.Tensor, thousand: Dataset) -> None:
    rows = page.part("Confused most often").rows()[1:]
    assert len(rows) == 8
    labels, predicted = thousand.test.labels, probabilities.argmax(dim=1)
    for name, taken_for, pictures, share in rows:
        truth, answer = thousand.class_names.index(name), thousand.class_names.index(taken_for)
        assert truth != answer
        assert int(pictures) == int(((labels == truth) & (predicted == answer)).sum())
        assert share == f"{100 * int(pictures) / int((labels == truth).sum()):.1f} %"
    shares = [float(row[3].removesuffix(" %")) for row in rows]
    assert shares == sorted(shares, reverse=True)


def test_the_most_confident_mistakes(page: Page, probabilities: torch.Tensor, thousand: Dataset) -> None:
    confidences, predicted = probabilities.max(dim=1)
    wrong = predicted != thousand.test.labels
    least = confidences[wrong].sort(descending=True).values[23]
    shown = page.section("The most confident mistakes").all("figure")
    assert len(shown) == 24
    for each in shown:
        image = each.all("img")[0]
        match = re.fullmatch(r"(.+) \(test picture ([\d,]+)\)", image.attributes["alt"])
        assert match
        position = int(match[2].replace(",", ""))
        assert wrong[position]
        assert confidences[position] >= least - 1e-5
        name = thousand.class_names[thousand.test.labels[position]]
        assert match[1] == name
        taken_for = thousand.class_names[int(predicted[position])]
        assert each.text().startswith(f"{name}, taken for {taken_for}, ")
        assert float(each.text().split(", ")[-1].removesuffix(" %")) == pytest.approx(
            100 * confidences[position].item(), abs=0.51
        )
        pixels = Image.open(io.BytesIO(base64.b64decode(image.attributes["src"].partition(",")[2])))
        assert pixels.format == "PNG"
        assert pixels.tobytes() == thousand.test.images[position].permute(1, 2, 0).contiguous().numpy().tobytes()


def test_the_calibration_error(page: Page, probabilities: torch.Tensor, thousand: Dataset) -> None:
    confidences, predicted = probabilities.max(dim=1)
    right = (predicted == thousand.test.labels).float()
    error = 0.0
    for number in range(15):
        inside = (confidences >= number / 15) & (confidences < (number + 1) / 15)
        if inside.any():
            error += inside.float().mean().item() * (confidences[inside].mean() - right[inside].mean()).abs().item()
    assert float(page.all("data")[1].attributes["value"]) == pytest.approx(error, abs=2e-3)
    gap = 100 * (confidences.mean() - right.mean()).item()
    assert abs(gap) > 0.5
    assert (
        f"{'over' if gap > 0 else 'under'}-confident by {abs(gap):.1f} points" in page.section("How sure it is").text()
    )


def test_the_filters_are_all_there(page: Page, run_dir: Path) -> None:
    section = page.section("What the first layer looks for")
    assert "The 64 filters of conv1, 5x5 with a red, a green and a blue plane." in section.text()
    (image,) = section.all("img")
    pixels = Image.open(io.BytesIO(base64.b64decode(image.attributes["src"].partition(",")[2])))
    shown = torch.from_numpy(np.array(pixels))
    weights = final_state(run_dir)["averages"]["conv1.weight"]
    for number in range(64):
        left, top = number % 8 * 48, number // 8 * 48
        filter_pixels = shown[top + 4 : top + 40 : 8, left + 4 : left + 40 : 8, :3].reshape(25, 3)
        mine = weights[number].permute(1, 2, 0).reshape(25, 3)
        scaled = (mine - mine.min()) / (mine.max() - mine.min()) * 255
        torch.testing.assert_close(filter_pixels.float(), scaled, rtol=0, atol=0.51)


def test_recipe_and_sessions(page: Page) -> None:
    rows = {row[0]: row[1:] for row in page.section("Recipe").rows()}
    assert rows["distortions.contrast"] == ["0.2, 1.8"]
    assert rows["network.softmax_linear"] == [repr(1 / 192)]
    assert rows["learning_rate"] == ["0.03"]
    assert rows["groups.local3.weight_decay"] == ["0.004"]
    assert rows["groups.others.schedule.epochs"] == ["350.0"]
    assert rows["seed"] == ["3"]
    assert rows["torch"] == ["2.15.0"]
    sessions = page.section("Recipe").all("table")[-1].rows()[1:]
    assert [(row[1], row[4]) for row in sessions] == [("CPU, 2 threads", "0"), ("CPU, 1 thread", "30")]
    again = page.section("Train it again").text()
    assert "The sessions of this run differ" in again
    assert "git checkout 0123abc pip install -c constraints.txt -e '.[train]' export OMP_NUM_THREADS=2" in again
    assert "--steps 60 --global-batch 64 --learning-rate 0.03 --seed 3 --precision fp32" in again


def test_curves(page: Page) -> None:
    assert "goes from 4.60 to 3.60" in page.figure("Loss").all("svg")[0].attributes["aria-label"]
    caption = page.figure("Loss").all("figcaption")[0].text()
    assert "The learning rate is 0.03 at first and changes once, at the dashed lines; from step 40 on" in caption
    assert "evaluated twice; best 31.00 % at step 60." in page.figure("Accuracy").text()
    assert "median, 640 pictures/s" in page.figure("Throughput").text()
