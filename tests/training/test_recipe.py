"""Recipes: the tutorial's numbers, and the trip through JSON that run files and bundles make them take."""

import json
from dataclasses import replace

import pytest

from training.recipe import RECIPES, Distortions, Recipe, from_dict


def test_the_tutorial_to_the_letter() -> None:
    assert RECIPES["tutorial"].as_dict() == {
        "name": "tutorial",
        "steps": 60_000,
        "batch_size": 128,
        "distortions": {"crop_size": 24, "flip": True, "brightness": 63.0, "contrast": (0.2, 1.8)},
        "initialization": {
            "conv1": 1e-4,
            "conv2": 1e-4,
            "local3": 0.04,
            "local4": 0.04,
            "softmax_linear": 1 / 192,
            "biases": (0.0, 0.1, 0.1, 0.1, 0.0),
        },
        "learning_rate": 0.1,
        "learning_rate_decay": 0.1,
        "epochs_per_decay": 350.0,
        "weight_decay": 0.004,
        "ema_decay": 0.9999,
    }


@pytest.mark.parametrize(
    "recipe", [Recipe(), replace(Recipe(), name="other", distortions=Distortions(crop_size=28, contrast=(0.5, 1.5)))]
)
def test_json_and_back(recipe: Recipe) -> None:
    assert from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe
    assert from_dict(recipe.as_dict()) == recipe


def test_a_key_that_no_recipe_has() -> None:
    with pytest.raises(TypeError, match="momentum"):
        from_dict(Recipe().as_dict() | {"momentum": 0.9})


def test_changes_touch_only_what_is_given() -> None:
    assert Recipe().with_changes() == Recipe()
    changed = Recipe().with_changes(steps=7, learning_rate=0.5)
    assert changed == replace(Recipe(), steps=7, learning_rate=0.5)
