"""The learning rate of every update."""

from __future__ import annotations

import numpy as np

from training.recipe import Recipe


def learning_rate(recipe: Recipe, pictures: int, step: int) -> np.float32:
    """rate * factor ^ (step // decay_steps), computed in float32 as TensorFlow does.

    `pictures` is the size of an epoch. Source: `tf.train.exponential_decay(…, staircase=True)` with the tutorial's
    decay_steps = int(pictures / batch_size * epochs_per_decay), 136,718 for CIFAR-10 at batch 128.
    """
    decay_steps = int(pictures / recipe.batch_size * recipe.epochs_per_decay)
    drops = np.float32(step // decay_steps)
    return np.float32(recipe.learning_rate) * np.float32(recipe.learning_rate_decay) ** drops
