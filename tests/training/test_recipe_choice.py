"""What a run follows that is resumed before its first checkpoint: only there may batches and pictures be others."""

from dataclasses import replace
from typing import Any

import pytest

from training import recipe_choice
from training.command_line import parser
from training.recipe import RECIPES, Recipe

PICTURES = 50_000
FAST = RECIPES["fast"]


def resumed(before: Recipe, typed: str, pictures: int = PICTURES, ranks: int = 1) -> Recipe:
    args = parser().parse_args(["train", "--resume", *typed.split()])
    description: dict[str, Any] = {"recipe": before.as_dict(), "training_pictures": PICTURES}
    return recipe_choice.fitted(recipe_choice.chosen(args, description), args, description, pictures, ranks)


@pytest.mark.parametrize(
    ("typed", "pictures", "fitted"),
    [
        ("--batch-size 500", PICTURES, FAST.fitted_to(PICTURES, 500)),
        ("--image-size 64", PICTURES, FAST.with_changes(image_size=64).fitted_to(PICTURES)),
        ("", 5_000, FAST.fitted_to(5_000)),
        ("--batch-size 500 --steps 7", PICTURES, replace(FAST.fitted_to(PICTURES, 500), steps=7)),
    ],
    ids=["smaller batches", "larger pictures", "fewer pictures", "as many steps as are typed"],
)
def test_what_is_not_what_it_was_fitted_to_is_fitted_anew(typed: str, pictures: int, fitted: Recipe) -> None:
    before = replace(FAST.fitted_to(PICTURES), learning_rate=0.1)
    assert resumed(before, typed, pictures) == replace(fitted, learning_rate=0.1)


@pytest.mark.parametrize("ranks", [1, 2, 8])
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_what_is_as_it_was_stays_so_on_any_number_of_ranks(name: str, ranks: int) -> None:
    before = replace(RECIPES[name].fitted_to(PICTURES), steps=150)
    assert resumed(before, "", ranks=ranks) == before
    assert resumed(before, f"--global-batch {before.batch_size}", ranks=ranks) == before


def test_the_tutorial_keeps_its_steps() -> None:
    before = replace(Recipe(), steps=2000)
    assert resumed(before, "--batch-size 64") == replace(before, batch_size=64)
