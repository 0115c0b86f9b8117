"""Which recipe a training follows: one by its name, fitted to its pictures, or that of the run it goes on with."""

from __future__ import annotations

import argparse
from typing import Any

from training import choices
from training.errors import UserError
from training.recipe import RECIPES, Recipe, from_dict


def chosen(args: argparse.Namespace, before: dict[str, Any] | None) -> Recipe:
    """By its name and the size of its pictures alone, which decide what is read.

    `before` is the description of the run that is resumed. Raises UserError for a size that the recipe cannot have.
    """
    recipe = from_dict(before["recipe"]) if before and _goes_on(args, before) else _named(args)
    if args.image_size not in (None, recipe.image_size) and not recipe.resizable:
        raise _not_resizable(recipe)
    return recipe.with_changes(image_size=args.image_size)


def fitted(
    recipe: Recipe, args: argparse.Namespace, before: dict[str, Any] | None, pictures: int, world_size: int
) -> Recipe:
    """What `chosen` gave, for so many training pictures and ranks, with what else was given on the command line.

    A run that is resumed by another number of ranks keeps its batches, and so its pictures' order. One that is resumed
    with other batches or pictures, which it may be before its first checkpoint, is fitted anew. Raises UserError for
    too small a batch.
    """
    batch_size = args.batch_size * world_size if args.batch_size else args.global_batch
    if not (before and _goes_on(args, before)):
        recipe = recipe.fitted_to(pictures, batch_size, world_size)
    elif not _is_fitted(recipe, before, pictures, batch_size):
        recipe = _before_it_was_fitted(recipe).fitted_to(pictures, batch_size, world_size)
    recipe = recipe.with_changes(steps=args.steps, learning_rate=args.learning_rate)
    if recipe.batch_size < world_size:
        raise UserError(
            f"A batch of {recipe.batch_size} is too small for {world_size} processes; give --global-batch at least "
            f"{world_size}, or start fewer."
        )
    return recipe


def _goes_on(args: argparse.Namespace, before: dict[str, Any]) -> bool:
    return args.recipe in (None, before["recipe"]["name"])


def _is_fitted(recipe: Recipe, before: dict[str, Any], pictures: int, batch_size: int | None) -> bool:
    """Whether it is for such pictures and batches, as `before` describes it."""
    return (
        batch_size in (None, recipe.batch_size)
        and recipe.image_size == before["recipe"].get("image_size")
        and pictures == before.get("training_pictures", pictures)
    )


def _before_it_was_fitted(recipe: Recipe) -> Recipe:
    if recipe.epochs is None or recipe.name not in RECIPES:
        return recipe
    return RECIPES[recipe.name].with_changes(image_size=recipe.image_size, learning_rate=recipe.learning_rate)


def _named(args: argparse.Namespace) -> Recipe:
    return RECIPES[args.recipe or choices.DEFAULT_RECIPE]


def _not_resizable(recipe: Recipe) -> UserError:
    others = ", ".join(name for name, other in sorted(RECIPES.items()) if other.resizable)
    return UserError(
        f"The recipe {recipe.name} is for pictures of {recipe.image_size} x {recipe.image_size} pixels; leave "
        f"--image-size out, or choose another --recipe ({others})."
    )
