"""Learning rates that fall in a straight line. (The tutorial's staircase: test_reference.py.)"""

from dataclasses import replace

import pytest

from training.recipe import RECIPES, Recipe
from training.recipe_parts import Linear, ParameterGroup
from training.schedule import learning_rate

PICTURES = 50_000


def rates(recipe: Recipe, schedule: Linear, steps: list[int]) -> list[float]:
    group = ParameterGroup("filters", learning_rate=2.0, schedule=schedule)
    return [float(learning_rate(recipe, group, PICTURES, step)) for step in steps]


RECIPE = replace(RECIPES["fast"], learning_rate=0.5, steps=200, batch_size=2000)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Linear(), {0: 1.0, 50: 0.75, 100: 0.5, 199: 0.005}),
        (Linear(epochs=2), {0: 1.0, 25: 0.5, 49: 0.02, 50: 0.0, 199: 0.0}),
    ],
    ids=["to the end", "over two epochs"],
)
def test_a_straight_line(schedule: Linear, expected: dict[int, float]) -> None:
    assert rates(RECIPE, schedule, list(expected)) == pytest.approx(list(expected.values()), abs=1e-6)


@pytest.mark.parametrize(
    ("pictures", "batch_size", "steps"),
    [(50_000, 2000, 225), (100_000, 2000, 450), (5_000, 200, 225), (1_000, 64, 400), (70, 64, 400), (20, 64, 400)],
)
def test_a_recipe_that_counts_epochs_is_fitted_to_the_set(pictures: int, batch_size: int, steps: int) -> None:
    fitted = RECIPES["fast"].fitted_to(pictures)
    whitening_bias = fitted.groups[2]
    done = {share: learning_rate(fitted, whitening_bias, pictures, int(share * fitted.steps)) for share in (0.33, 0.34)}
    assert done[0.33] > 0 == done[0.34]  # three epochs of nine
    assert (fitted.batch_size, fitted.steps) == (batch_size, steps)
    for before, after in zip(RECIPES["fast"].groups, fitted.groups, strict=True):
        scale = batch_size / 2000 if before.optimizer == "sgd" else 1
        assert after.learning_rate == pytest.approx(before.learning_rate * scale)


@pytest.mark.parametrize(("image_size", "batch_size"), [(32, 2000), (64, 500), (96, 222), (224, 64)])
def test_batches_of_large_pictures_are_smaller(image_size: int, batch_size: int) -> None:
    recipe = replace(RECIPES["fast"], image_size=image_size)
    assert recipe.fitted_to(50_000).batch_size == batch_size
    assert recipe.fitted_to(50_000, 1000).batch_size == 1000


@pytest.mark.parametrize(("pictures", "batch_size"), [(50_000, 2000), (5_000, 512), (70, 512)])
def test_each_rank_has_enough_pictures_to_normalize_by(pictures: int, batch_size: int) -> None:
    assert RECIPES["fast"].fitted_to(pictures, ranks=8).batch_size == batch_size


def test_the_tutorial_fits_as_it_is() -> None:
    assert RECIPES["tutorial"].fitted_to(70) == RECIPES["tutorial"]
    assert RECIPES["tutorial"].fitted_to(70, ranks=8) == replace(RECIPES["tutorial"], batch_size=8 * 128)
