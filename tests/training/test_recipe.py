"""Recipes: the tutorial's numbers, and the trip through JSON that run files and bundles make them take."""

import json
from dataclasses import replace

import pytest

from training.recipe import RECIPES, Recipe, from_dict
from training.recipe_parts import Distortions

SGD = {
    "optimizer": "sgd",
    "learning_rate": 1.0,
    "momentum": 0.0,
    "schedule": {"kind": "staircase", "factor": 0.1, "epochs": 350.0},
}


def test_the_tutorial_to_the_letter() -> None:
    assert RECIPES["tutorial"].as_dict() == {
        "name": "tutorial",
        "steps": 60_000,
        "epochs": None,
        "batch_size": 128,
        "batch_of": "gpu",
        "image_size": 32,
        "network": {
            "kind": "tutorial",
            "conv1": 1e-4,
            "conv2": 1e-4,
            "local3": 0.04,
            "local4": 0.04,
            "softmax_linear": 1 / 192,
            "biases": (0.0, 0.1, 0.1, 0.1, 0.0),
        },
        "distortions": {
            "crop_size": 24,
            "translate": 0.0,
            "flip": "random",
            "brightness": 63.0,
            "contrast": (0.2, 1.8),
            "cutout": 0.0,
        },
        "normalization": "picture",
        "label_smoothing": 0.0,
        "learning_rate": 0.1,
        "groups": (
            {"parameters": "local3", "weight_decay": 0.004, **SGD},
            {"parameters": "local4", "weight_decay": 0.004, **SGD},
            {"parameters": "others", "weight_decay": 0.0, **SGD},
        ),
        "ema_decay": 0.9999,
        "test_time_views": "one",
        "calibrated": False,
    }


@pytest.mark.parametrize(
    "recipe",
    [*RECIPES.values(), replace(Recipe(), name="other", distortions=Distortions(crop_size=28, contrast=(0.5, 1.5)))],
)
def test_json_and_back(recipe: Recipe) -> None:
    assert from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe
    assert from_dict(recipe.as_dict()) == recipe


def test_a_key_that_no_recipe_has() -> None:
    with pytest.raises(TypeError, match="momentum"):
        from_dict(Recipe().as_dict() | {"momentum": 0.9})


@pytest.mark.parametrize("field", ["normalization", "batch_of"])
def test_a_word_that_no_recipe_knows(field: str) -> None:
    with pytest.raises(ValueError, match="'both' is none of"):
        from_dict(Recipe().as_dict() | {field: "both"})


def test_changes_touch_only_what_is_given() -> None:
    assert Recipe().with_changes() == Recipe()
    changed = Recipe().with_changes(steps=7, learning_rate=0.5)
    assert changed == replace(Recipe(), steps=7, learning_rate=0.5)
