"""The learning rate of every update."""

from __future__ import annotations

import numpy as np

from training.recipe import Recipe
from training.recipe_parts import Linear, ParameterGroup, Staircase


def learning_rate(recipe: Recipe, group: ParameterGroup, pictures: int, step: int) -> np.float32:
    """Of a group of parameters, at update `step` (0 for the first); `pictures` is the size of an epoch."""
    rate = np.float32(recipe.learning_rate * group.learning_rate)
    if isinstance(group.schedule, Staircase):
        return rate * _staircase(group.schedule, recipe, pictures, step)
    return rate * _linear(group.schedule, recipe, pictures, step)


def _staircase(schedule: Staircase, recipe: Recipe, pictures: int, step: int) -> np.float32:
    """factor ^ (step // decay_steps), computed in float32 as TensorFlow does.

    Source: `tf.train.exponential_decay(…, staircase=True)` with the tutorial's
    decay_steps = int(pictures / batch_size * epochs_per_decay), 136,718 for CIFAR-10 at batch 128.
    """
    # At least 1: a folder may hold few pictures and a batch be large.
    decay_steps = max(1, int(pictures / recipe.batch_size * schedule.epochs))
    return np.float32(schedule.factor) ** np.float32(step // decay_steps)


def _linear(schedule: Linear, recipe: Recipe, pictures: int, step: int) -> np.float32:
    """From 1 at the first update to 0 after the last."""
    steps = recipe.steps if schedule.epochs is None else schedule.epochs * pictures / recipe.batch_size
    return np.float32(max(0.0, (steps - step) / steps))
