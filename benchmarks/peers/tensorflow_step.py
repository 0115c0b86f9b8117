"""The tutorial's training step in TensorFlow 2: what `training` is measured against. Needs TensorFlow, not PyTorch.

Our own program, written after cifar10.py, cifar10_input.py and cifar10_train.py of TensorFlow's tutorial. It computes
what they compute, and does less beside it: no event files, no checkpoints, no queue runners. Of the ways to write it
the fastest on two CPU cores was taken. A graph session, `tf.function` with ten steps a call, and `tf.image.random_*` on
one picture after another (here the batch is distorted at once, each picture with draws of its own) were 1 to 10 %
slower, XLA took nearly twice as long (one run of 150 steps each).

    python -m benchmarks.peers.tensorflow_step --data-dir data

prints the tutorial's log lines. Whole processes are timed by benchmarks/train_step.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf  # type: ignore[import-untyped]

from benchmarks import log_lines
from benchmarks.peers.pictures import training_pictures

CROP = 24
PICTURES = 50_000
WEIGHT_DECAY = 0.004
Tensor = Any  # TensorFlow has no types
Variables = list[Any]


def batches(images: Tensor, labels: Tensor, batch_size: int) -> Any:
    """An endless dataset of (float32 [N, 24, 24, 3], int64 [N]) from uint8 [M, 32, 32, 3] and int64 [M]."""
    pictures = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(PICTURES).repeat()
    distorted = pictures.batch(batch_size, drop_remainder=True).map(
        lambda some, their_labels: (distort(some), their_labels), tf.data.AUTOTUNE, deterministic=False
    )
    return distorted.prefetch(tf.data.AUTOTUNE)


def distort(images: Tensor) -> Tensor:
    """uint8 [N, 32, 32, 3] -> float32 [N, 24, 24, 3]: crop, flip, brightness, contrast, standardization."""
    count = tf.shape(images)[0]
    rows, columns = (tf.random.uniform([count, 1], 0, 32 - CROP + 1, tf.int32) + tf.range(CROP)[None] for _ in range(2))
    flip = tf.random.uniform([count, 1]) < 0.5
    columns = tf.where(flip, tf.reverse(columns, [1]), columns)
    strips = tf.transpose(tf.gather(images, rows, batch_dims=1), [0, 2, 1, 3])
    crops = tf.transpose(tf.gather(strips, columns, batch_dims=1), [0, 2, 1, 3])
    brightened = tf.cast(crops, tf.float32) + tf.random.uniform([count, 1, 1, 1], -63, 63)
    mean = tf.reduce_mean(brightened, [1, 2], keepdims=True)
    contrasted = (brightened - mean) * tf.random.uniform([count, 1, 1, 1], 0.2, 1.8) + mean
    return tf.image.per_image_standardization(contrasted)


def initial_weights() -> Variables:
    """Weights and biases of conv1, conv2, local3, local4 and softmax_linear, in the tutorial's shapes."""

    def layer(shape: list[int], deviation: float, bias: float) -> Variables:
        return [
            tf.Variable(tf.random.truncated_normal(shape, stddev=deviation)),
            tf.Variable(tf.fill(shape[-1:], bias)),
        ]

    return [
        *layer([5, 5, 3, 64], 1e-4, 0.0),
        *layer([5, 5, 64, 64], 1e-4, 0.1),
        *layer([2304, 384], 0.04, 0.1),
        *layer([384, 192], 0.04, 0.1),
        *layer([192, 10], 1 / 192, 0.0),
    ]


def logits(images: Tensor, weights: Variables, precision: str = "fp32") -> Tensor:
    """float32 [N, 24, 24, 3] -> float32 [N, 10]; "bf16" takes convolutions and matrix products in bfloat16."""
    number = tf.bfloat16 if precision == "bf16" else tf.float32

    def convolved(x: Tensor, weight: Tensor) -> Tensor:
        return tf.cast(tf.nn.conv2d(tf.cast(x, number), tf.cast(weight, number), 1, "SAME"), tf.float32)

    def product(x: Tensor, weight: Tensor) -> Tensor:
        return tf.cast(tf.cast(x, number) @ tf.cast(weight, number), tf.float32)

    conv1, bias1, conv2, bias2, local3, bias3, local4, bias4, softmax_linear, bias5 = weights
    x = tf.nn.relu(tf.nn.bias_add(convolved(images, conv1), bias1))
    x = _local_response_norm(tf.nn.max_pool2d(x, 3, 2, "SAME"))
    x = tf.nn.relu(tf.nn.bias_add(convolved(x, conv2), bias2))
    x = tf.nn.max_pool2d(_local_response_norm(x), 3, 2, "SAME")
    x = tf.reshape(x, [-1, local3.shape[0]])
    x = tf.nn.relu(product(x, local3) + bias3)
    x = tf.nn.relu(product(x, local4) + bias4)
    return product(x, softmax_linear) + bias5


def _local_response_norm(x: Tensor) -> Tensor:
    return tf.nn.lrn(x, depth_radius=4, bias=1.0, alpha=0.001 / 9.0, beta=0.75)


def losses(images: Tensor, labels: Tensor, weights: Variables, precision: str = "fp32") -> list[Tensor]:
    """Mean cross-entropy, and the weight decay of local3 and local4."""
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits(images, weights, precision))
    return [tf.reduce_mean(cross_entropy), *(WEIGHT_DECAY * tf.nn.l2_loss(weights[layer]) for layer in (4, 6))]


def training_step(
    weights: Variables, batch_size: int, precision: str = "fp32"
) -> tuple[Callable[[Tensor, Tensor], Tensor], Variables]:
    """A function of a batch that does one update and returns the total loss before it, and the weights' averages."""
    decay_steps = int(PICTURES / batch_size * 350)
    updates_done = tf.Variable(0, dtype=tf.int64)
    averages = [tf.Variable(weight) for weight in weights]
    loss_averages = [tf.Variable(0.0) for _ in range(4)]  # without TensorFlow 1's correction for their start

    def step(images: Tensor, labels: Tensor) -> Tensor:
        with tf.GradientTape() as tape:
            terms = losses(images, labels, weights, precision)
            total = tf.add_n(terms)
        gradients = tape.gradient(total, weights)
        rate = 0.1 * tf.pow(0.1, tf.cast(updates_done // decay_steps, tf.float32))
        for weight, gradient in zip(weights, gradients, strict=True):
            tf.raw_ops.ResourceApplyGradientDescent(var=weight.handle, alpha=rate, delta=gradient)
        done = tf.cast(updates_done.assign_add(1), tf.float32)
        decay = tf.minimum(0.9999, (1 + done) / (10 + done))
        for average, weight in zip(averages, weights, strict=True):
            average.assign_sub((1 - decay) * (average - weight))
        for average, loss in zip(loss_averages, [total, *terms], strict=True):
            average.assign_sub(0.1 * (average - loss))
        return total

    return step, averages


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.peers.tensorflow_step", description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder that holds cifar-10-batches-bin")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    args = parser.parse_args(arguments)

    images, labels = training_pictures(args.data_dir)
    iterator = iter(batches(images.transpose(0, 2, 3, 1), labels, args.batch_size))
    update, _ = training_step(initial_weights(), args.batch_size, args.precision)
    # The batch is fetched inside the graph, so that Python makes one call a step.
    step = tf.function(lambda: update(*next(iterator)))
    log = log_lines.LogLines(args.batch_size)
    for number in range(args.steps):
        loss = step()
        if number % log_lines.EVERY == 0:
            log.print(number, float(loss))


if __name__ == "__main__":
    main()
