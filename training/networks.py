"""The network that a recipe asks for."""

from __future__ import annotations

from training.network import Network
from training.recipe import Recipe
from training.recipe_parts import TutorialArchitecture
from training.tutorial_network import TutorialNetwork
from training.whitened_network import WhitenedNetwork


def make_network(recipe: Recipe, classes: int) -> Network:
    """With room for weights, which are still to be initialized or loaded."""
    if isinstance(recipe.network, TutorialArchitecture):
        return TutorialNetwork(recipe, recipe.network, classes)
    return WhitenedNetwork(recipe, recipe.network, classes)
