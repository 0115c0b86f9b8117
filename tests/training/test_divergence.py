"""A loss that is no number any more stops the run, and leaves the last good checkpoint as it was."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.processes import RunCommand
from tests.training.runs import final_state, small_recipe, snapshot, start_run, train_command
from training.dataset import Dataset
from training.errors import Diverged
from training.recipe_parts import ParameterGroup, Staircase


def test_exit_status_and_sentence(run: RunCommand, tmp_path: Path, cifar10_dir: Path) -> None:
    command = train_command(tmp_path / "run", cifar10_dir, 1000, "--learning-rate", 1e5)
    finished = run(*command)
    assert finished.status == 1
    (line,) = finished.errors.splitlines()
    assert line.startswith("Model diverged with loss = NaN")
    assert "no checkpoint had been saved yet" in line
    assert not list((tmp_path / "run").glob("checkpoints/*"))


@pytest.mark.parametrize(
    "steps",
    [1000, 6],
    ids=["noticed at a log line", "noticed before the last checkpoint is saved"],
)
def test_the_last_good_checkpoint_stays(few_pictures: Dataset, tmp_path: Path, steps: int) -> None:
    # Four good updates, then the rate's only drop, which is a leap of 10^30.
    leap = Staircase(factor=1e30, epochs=4 * 8 / len(few_pictures.train))
    recipe = replace(
        small_recipe(4),
        learning_rate=1e-3,
        groups=tuple(replace(group, schedule=leap) for group in small_recipe(4).groups),
    )
    start_run(tmp_path, few_pictures, recipe).train()
    before = snapshot(tmp_path / "checkpoints")
    assert len(before) == 1

    going_on = start_run(tmp_path, few_pictures, replace(recipe, steps=steps))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(Diverged, match=r"Model diverged with loss = NaN .*checkpoint-00000004-") as diverged:
            going_on.train()
    assert diverged.value.status == 1
    assert "\n" not in str(diverged.value)
    assert snapshot(tmp_path / "checkpoints") == before
    state = final_state(tmp_path)
    assert state["step"] == 4
    assert all(weight.isfinite().all() for part in ("network", "averages") for weight in state[part].values())


def test_infinity_counts_as_well(few_pictures: Dataset, tmp_path: Path) -> None:
    # The weights are finite, and the sum of their squares is not.
    heavy = (ParameterGroup(layer, weight_decay=1e38) for layer in ("local3", "local4"))
    recipe = replace(small_recipe(1000), groups=(*heavy, ParameterGroup("others")))
    with pytest.raises(Diverged, match="Model diverged with loss = inf"):
        start_run(tmp_path, few_pictures, recipe).train()
