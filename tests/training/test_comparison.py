"""Runs side by side, from their plain files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.html_page import Page, check_self_contained
from training.errors import UserError
from training.metrics_log import MetricsLog, measured
from training.recipe import Recipe
from training.report.comparison import compare
from training.report.comparison_page import write_comparison

SPEED = 1_000.0  # pictures a second


def make_run(path: Path, *, steps: int = 200, batch_size: int = 50, shift: float = 0.0, **changes: Any) -> Path:
    """A run as its files tell it: 20 records, two evaluations."""
    recipe = replace(Recipe(), steps=steps, batch_size=batch_size)
    description = {"recipe": recipe.as_dict(), "seed": 0, "dataset": "cifar10", "device": "CPU, 1 thread"}
    path.mkdir(parents=True)
    (path / "recipe.json").write_text(json.dumps(description | {"precision": "fp32"} | changes))
    log = MetricsLog(path)
    log.start(0, {})
    losses = [{"total_loss": 4.5 - step / 100} for step in range(0, 200, 10)]
    log.append(
        measured("train", 10 * number, {"losses": loss, "averaged_losses": loss, "examples_per_sec": SPEED})
        for number, loss in enumerate(losses)
    )
    log.append(measured("eval", step, evaluation(step, shift)) for step in (100, 200))
    (path / "eval.json").write_text(
        json.dumps(evaluation(200, shift) | {"step": 200, "split": "test", "data_sha256": "a"})
    )
    return path


def evaluation(step: int, shift: float) -> dict[str, Any]:
    share = step / 400 + shift
    return {
        "precision_at_1": share,
        "correct": round(share * 10_000),
        "pictures": 10_000,
        "per_class": {"cat": share - 0.1, "<dog>": share + 0.1},
    }


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [make_run(tmp_path / "one"), make_run(tmp_path / "other", batch_size=100, shift=0.05, seed=4)]


def facts(run_dirs: list[Path]) -> dict[str, list[str]]:
    return dict(compare(run_dirs).facts())


def test_what_is_told_of_each(two: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    told = facts(two)
    assert told["data"] == ["cifar10", "cifar10"]
    assert told["steps"] == ["200 of 200", "200 of 200"]
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in told["precision @ 1"]] == ["50.00 %", "55.00 %"]
    assert told["loss, averaged, last"] == ["2.600", "2.600"]
    assert told["pictures/s, median"] == ["1,000", "1,000"]
    # 191 updates up to the last record.
    assert [text.split()[0] for text in told["time spent training"]] == ["9.6", "19"]

    compare(two).show()
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].split() == ["run", "one", "other"]
    assert len(lines) == 1 + len(told) + 2
    assert lines[-2].split() == ["batch_size", "50", "100"]
    assert lines[-1].split() == ["seed", "0", "4"]
    assert not set("─━│┃╷╵") & set("".join(lines)), "a file is no terminal"


def test_the_page(two: list[Path], tmp_path: Path) -> None:
    path = write_comparison(compare(two), tmp_path / "pages" / "comparison.html")
    page = Page(path)
    check_self_contained(page)
    rows = {row[0]: row[1:] for row in page.section("Runs").rows()}
    assert rows["run"] == ["one", "other"]
    assert rows["precision @ 1"] == ["50.00 %", "55.00 %"]
    assert rows["batch_size"] == ["50", "100"]
    titles = [each.all("h3")[0].text() for each in page.all("figure")]
    assert titles == ["Accuracy over steps", "Accuracy over time", "Loss over steps", "Accuracy of each class"]
    for figure in page.all("figure"):
        assert [key.text() for key in figure.all("li")] == ["one", "other"]
    time = page.figure("Accuracy over time").all("svg")[0].attributes["aria-label"].replace("\N{NO-BREAK SPACE}", " ")
    assert "up to 19.1 seconds. Last accuracy: one 50.00 %, other 55.00 %." in time
    classes = [each.text() for each in page.figure("Accuracy of each class").all("text")]
    assert {"cat", "<dog>"} <= set(classes)
    before = path.read_bytes()
    assert write_comparison(compare(two), path).read_bytes() == before


def test_a_run_s_time_does_not_count_what_was_done_twice(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run")
    log = MetricsLog(run_dir)
    log.start(150, {})
    again = {"losses": {}, "averaged_losses": {"total_loss": 1.0}, "examples_per_sec": SPEED}
    log.append(measured("train", step, again) for step in range(150, 200, 10))
    assert facts([run_dir])["time spent training"] == ["9.6\N{NO-BREAK SPACE}s"]
    assert facts([run_dir])["loss, averaged, last"] == ["1.000"]


def test_other_pictures_are_not_comparable(two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(two).warnings() == []
    content = json.loads((two[1] / "eval.json").read_bytes())
    (two[1] / "eval.json").write_text(json.dumps(content | {"data_sha256": "b"}))
    compare(two).show()
    sentence = "Not comparable, for they were evaluated on different pictures: on one set one, on another other."
    assert capsys.readouterr().out.splitlines()[-1] == sentence
    assert sentence in Page(write_comparison(compare(two), tmp_path / "page.html")).text()


def test_the_time_of_one_process_is_as_it_was_measured(two: list[Path]) -> None:
    for run_dir, updates in zip(two, (200, 150), strict=True):  # the other one was resumed
        MetricsLog(run_dir).append([measured("end", 200, {"updates": updates, "seconds": 13.0})])
    told = facts(two)["time spent training"]
    assert [text.split()[0] for text in told] == ["13", "19"]


def test_runs_of_the_same_name(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / place / "run") for place in ("a/x", "b/x", "c/y")]
    assert [run.label for run in compare(paths).runs] == ["a/x/run", "b/x/run", "y/run"]


def test_the_same_directory_twice_is_one_run(two: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two[0].parent)
    again = [*two, Path("one"), Path("other/../one")]
    assert [run.label for run in compare(again).runs] == ["one", "other"]


def test_one_run_alone(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "alone")])
    assert comparison.differing() == []
    page = Page(write_comparison(comparison, tmp_path / "page.html"))
    check_self_contained(page)
    assert page.all("title")[0].text() == "1 run compared"


def test_runs_that_have_not_come_far(two: list[Path], tmp_path: Path) -> None:
    (two[0] / "eval.json").unlink()
    (two[1] / "metrics.jsonl").unlink()
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(two[0] / "recipe.json", bare)
    told = facts([*two, bare])
    assert told["precision @ 1"][0] == told["loss, averaged, last"][1] == told["time spent training"][2] == "–"  # noqa: RUF001
    assert told["steps"] == ["200 of 200", "200 of 200", "– of 200"]  # noqa: RUF001
    page = Page(write_comparison(compare([*two, bare]), tmp_path / "page.html"))
    check_self_contained(page)
    assert "Kept no record of losses and speed (metrics.jsonl): other, bare." in page.text()


def test_more_runs_than_colours(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / f"run{number:02}", shift=number / 100) for number in range(20)]
    page = Page(write_comparison(compare(paths), tmp_path / "page.html"))
    styles = [key.all("span")[0].attributes["style"] for key in page.figure("Loss over steps").all("li")]
    assert len(styles) == 20
    assert len(set(styles[:18])) == 18


def test_refusals(two: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a training run"):
        compare([two[0], tmp_path / "none"])
    with pytest.raises(UserError, match="could not be written"):
        write_comparison(compare(two), two[0])
    (two[0] / "eval.json").write_text("{")
    with pytest.raises(UserError, match=r"eval\.json is damaged; measure again with: python -m training eval"):
        compare(two)
    (two[0] / "recipe.json").write_text('{"dataset": "cifar10"}')
    with pytest.raises(UserError, match="it tells no recipe"):
        compare(two)
