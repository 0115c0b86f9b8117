"""Who says which pictures are for testing, the folder or --test-share, and that a run remembers it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.picture_folders import numbered, write_flat_pictures
from tests.training.processes import RunCommand

LAYOUTS = {"divided": {"train/a": 9, "train/b": 9, "test/a": 3, "test/b": 3}, "flat": {"a": 40, "b": 40}}


@pytest.fixture
def folder(tmp_path: Path, layout: str) -> Path:
    return write_flat_pictures(tmp_path / "set", numbered(LAYOUTS[layout]))


def recipe_json(run_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run_dir / "recipe.json").read_bytes())
    return content


@pytest.mark.parametrize(
    ("layout", "given", "remembered"),
    [("divided", None, None), ("flat", None, 0.2), ("flat", 0.5, 0.5)],
)
def test_remembered(
    run: RunCommand, folder: Path, tmp_path: Path, layout: str, given: float | None, remembered: float | None
) -> None:
    run_dir = tmp_path / "run"
    share = ["--test-share", given] if given else []
    small = ["--batch-size", 8, "--precision", "fp32", "--no-report"]
    for words in (
        ["train", "--data", f"folder:{folder}", *share, "--steps", 2, *small],
        ["train", "--resume", "--steps", 3, *small],
        ["eval"],
        ["export", "--models-dir", tmp_path / "models"],
    ):
        finished = run(*words, "--run-dir", run_dir)
        assert finished.status == 0, finished.errors
        assert recipe_json(run_dir)["test_share"] == remembered
    pictures = json.loads((run_dir / "eval.json").read_bytes())["pictures"]
    assert pictures + recipe_json(run_dir)["training_pictures"] == sum(LAYOUTS[layout].values())
    if layout == "divided":
        _evaluate_as_it_once_was(run, run_dir)


def _evaluate_as_it_once_was(run: RunCommand, run_dir: Path) -> None:
    """Earlier runs remember a share also where the folder has test/."""
    (run_dir / "recipe.json").write_text(json.dumps(recipe_json(run_dir) | {"test_share": 0.2}))
    finished = run("eval", "--run-dir", run_dir)
    assert finished.status == 0, finished.errors
    assert json.loads((run_dir / "eval.json").read_bytes())["pictures"] == 6


@pytest.mark.parametrize("layout", ["divided"])
@pytest.mark.parametrize("command", ["train", "fetch"])
def test_refused_where_the_folder_says_it(run: RunCommand, folder: Path, tmp_path: Path, command: str) -> None:
    words = ["--run-dir", tmp_path / "run"] if command == "train" else []
    assert run(command, "--data", f"folder:{folder}", "--test-share", 0.3, *words).refusal() == (
        f"{folder} says in test/ which pictures are for testing; leave --test-share out."
    )
    assert not (tmp_path / "run").exists()
