"""The benchmarks of the recipes: that they measure, compare rightly, and train what they say."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import pytest

from benchmarks.ablations import variants
from benchmarks.outcome import DIVERGED, Outcome
from benchmarks.outcome_table import table
from benchmarks.recipe_changes import changed, parsed
from benchmarks.techniques import TECHNIQUES
from tests.test_benchmarks import figures, run
from training.errors import UserError
from training.recipe import RECIPES, Recipe

RECIPE = RECIPES["tutorial"]
TWO_STEPS = ["--recipe", "tutorial", "--data", "synthetic", "--steps", "2"]


def rows(output: str) -> dict[str, list[str]]:
    """The first cell of each row of a printed table to the others."""
    cells = [line.strip("| ").split("|") for line in output.splitlines() if line.startswith("| ")]
    return {first.strip(): [cell.strip() for cell in others] for first, *others in cells}


def test_recipes_of_ours_and_what_was_kept_of_them(tmp_path: Path) -> None:
    recipes = ["-m", "benchmarks.recipes", *TWO_STEPS, "--only", "ours", "--keep", tmp_path / "kept"]
    first = run(sys.executable, *recipes, "--seeds", 1)
    assert first.returncode == 0, first.stderr
    (row,) = (cells for name, cells in rows(first.stdout).items() if name.startswith("ours, tutorial, "))
    assert 0 < float(row[0]) < 100
    (kept,) = map(json.loads, (tmp_path / "kept").read_text().splitlines())
    outcome = Outcome(**kept["outcome"])
    assert 0 < outcome.training < outcome.process - outcome.evaluation
    rounded = [f"{outcome.training:.2f}", f"{outcome.evaluation:.1f}", f"{outcome.process:.1f}"]
    assert [row[3].split()[0], *row[5:]] == rounded
    assert "- pictures: synthetic, 20,000 to train and 4,000 to test" in first.stdout

    both = run(sys.executable, *recipes, "--seeds", 2)
    assert both.returncode == 0, both.stderr
    told = [done.stderr.splitlines()[0] for done in (first, both)]
    assert told[0] == told[1]  # to the hundredth of a second: it was not trained again
    assert both.stderr.count("seed 1, ours") == 1
    assert len((tmp_path / "kept").read_text().splitlines()) == 2

    second = run(sys.executable, *recipes, "--seeds", 1, "--first-seed", 1)
    assert second.stderr.splitlines() == both.stderr.splitlines()[1:]
    assert "- seeds: 1 to 1;" in second.stdout


def test_airbench_is_measured() -> None:
    if not (os.environ.get("AIRBENCH") or importlib.util.find_spec("airbench")):
        pytest.skip("needs airbench: set AIRBENCH to a folder that holds it")
    theirs = [*TWO_STEPS, "--only", "airbench", "--goal", "93", "--seeds", "1"]
    done = run(sys.executable, "-m", "benchmarks.recipes", *theirs)
    assert done.returncode == 0, done.stderr
    (row,) = (cells for name, cells in rows(done.stdout).items() if name.startswith("airbench93, "))
    assert 5 < float(row[0]) < 50  # of ten classes
    assert 0 < figures(row[3])[0] < float(row[6])
    assert 0 < float(row[5]) < float(row[6])


def test_missing_airbench_is_told(tmp_path: Path) -> None:
    missing = [*TWO_STEPS, "--only", "airbench", "--airbench", tmp_path]
    done = run(sys.executable, "-m", "benchmarks.recipes", *missing)
    assert done.returncode == 0, done.stderr
    assert f"- airbench is not measured: {tmp_path} holds no airbench; pip install --no-deps" in done.stdout


def test_a_file_that_keeps_no_outcomes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("hello\n")
    done = run(sys.executable, "-m", "benchmarks.recipes", *TWO_STEPS, "--only", "ours", "--keep", tmp_path / "notes")
    assert done.returncode == 2
    assert done.stderr == f"{tmp_path}/notes has no outcome in line 1; name another file with --keep.\n"


def test_ablations() -> None:
    changes = ["--change", "ema_decay=0.5 learning_rate=0.01", "--change", "learning_rate=1e30"]
    conditions = ["--with", "network.local3=0.05", *TWO_STEPS, "--seeds", 1]
    done = run(sys.executable, "-m", "benchmarks.ablations", *conditions, *changes)
    assert done.returncode == 0, done.stderr
    found = rows(done.stdout)
    as_it_is, smaller = (
        found["tutorial with `network.local3=0.05`, as it is"],
        found["`ema_decay=0.5 learning_rate=0.01`"],
    )
    assert float(smaller[2]) == pytest.approx(float(smaller[0]) - float(as_it_is[0]), abs=0.011)
    assert found["`learning_rate=1e30`"][0] == "diverged, 1 of 1"


def test_outcomes_are_compared_with_their_errors() -> None:
    ours = [Outcome(accuracy, 10.0, 1.0, 12.0) for accuracy in (0.94, 0.942, 0.944)]
    theirs = [Outcome(0.93, 20.0, 2.0, 30.0), Outcome(0.934, 25.0, 2.0, 40.0), DIVERGED]
    found = rows(table({"ours": ours, "theirs, fp16": theirs}, "theirs, fp16", "program"))
    assert "points above theirs, ± standard error" in found["program"]
    assert found["ours"][:3] == ["94.20 ± 0.12", "0.20", "+1.00 ± 0.23"]
    assert found["ours"][3:] == ["10.00 (10.00 to 10.00)", "0.45 (0.40 to 0.50)", "1.0", "12.0"]
    assert found["theirs, fp16"][0] == "93.20 ± 0.20, diverged, 1 of 3"


@pytest.mark.parametrize("recipe", [RECIPES[name] for name in TECHNIQUES if name in RECIPES], ids=lambda one: one.name)
def test_every_technique_can_be_left_out(recipe: Recipe) -> None:
    without = variants(recipe, TECHNIQUES[recipe.name])
    assert len({str(variant) for variant in without.values()}) == 1 + len(TECHNIQUES[recipe.name])


def test_a_recipe_changes_where_a_path_leads() -> None:
    changes = parsed("distortions.contrast.1=1.5 learning_rate=0.2 name='another one'")
    other = changed(RECIPE, changes)
    assert (other.distortions.contrast, other.learning_rate, other.name) == ((0.2, 1.5), 0.2, "another one")
    assert RECIPE.distortions.contrast == (0.2, 1.8)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("distortion.contrast", "tutorial has no distortion.contrast;"),
        ("distortions.contrast.2", "tutorial has no distortions.contrast.2;"),
        ("distortions.contrast.high", "tutorial has no distortions.contrast.high;"),
        ("learning_rate.first", "tutorial has no learning_rate.first;"),
        ("learning_rate", "learning_rate is 0.1 in tutorial as it is;"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"^{re.escape(reason)}"):
        changed(RECIPE, {path: 0.1})


def test_a_word_that_is_not_known_is_refused() -> None:
    reason = "tutorial cannot be changed so: 'adam' is none of sgd, muon."
    with pytest.raises(UserError, match=f"^{reason}$"):
        changed(RECIPE, {"groups.others.optimizer": "adam"})
