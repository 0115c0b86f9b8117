"""What TensorBoard shows of a run, under the tutorial's tags, every 100 steps as there.

RUN/events.out.tfevents…        scalars: the loss terms raw and averaged, learning rate, examples/sec
                                in full: pictures, activations and their sparsity, variables, gradients
RUN/eval/events.out.tfevents…   Precision @ 1
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.proto.histogram_pb2 import HistogramProto  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

from training.event_file import EventFile, scalar
from training.interval import Interval
from training.observation import Observation

EVERY = 100  # steps; the tutorial's MonitoredTrainingSession saves summaries this often


class TrainingSummaries:
    """The training as a TensorBoard run.

    Every method, the constructor too, raises UserError where the directory cannot be written to.
    """

    def __init__(self, run_dir: Path, first_step: int) -> None:
        """What an earlier process wrote for steps from `first_step` on, TensorBoard shows no more."""
        self._file = EventFile(run_dir)
        self._file.restart(first_step)

    def write(self, interval: Interval, observation: Observation | None) -> None:
        """Of the interval's last step."""
        values = [*_scalars(interval), *(_inside(observation) if observation else ())]
        self._file.write(interval.step, values)

    def sync(self) -> None:
        self._file.sync()

    def close(self) -> None:
        self._file.close()


class EvaluationSummaries:
    """Precision @ 1 over the steps, as a TensorBoard run of its own beside the training's.

    Every method, the constructor too, raises UserError where the directory cannot be written to.
    """

    def __init__(self, run_dir: Path) -> None:
        self._file = EventFile(run_dir / "eval")

    def write(self, step: int, precision: float) -> None:
        self._file.write(step, [scalar("Precision @ 1", precision)])

    def close(self) -> None:
        self._file.close()


def _scalars(interval: Interval) -> Iterator[Summary.Value]:
    for name, loss in interval.losses.items():
        yield scalar(f"{name} (raw)", loss)
    for name, loss in interval.averaged_losses.items():
        yield scalar(name, loss)
    yield scalar("learning_rate", interval.learning_rate)
    yield scalar("examples_per_sec", interval.examples_per_sec)
    yield scalar("global_step/sec", 1 / interval.sec_per_batch)


def _inside(observation: Observation) -> Iterator[Summary.Value]:
    for layer, share in observation.sparsity.items():
        yield scalar(f"{layer}/sparsity", float(share))
    moments, counts = observation.moments.double().cpu().numpy(), observation.counts.double().cpu().numpy()
    for name, size, row, buckets in zip(observation.names, observation.sizes, moments, counts, strict=True):
        if np.isfinite(row).all():  # before a run diverges, a gradient may be infinite, of which there is no picture
            yield Summary.Value(tag=name, histo=_histogram(size, row, buckets))
    for number, picture in enumerate(observation.pictures.cpu().numpy()):
        yield Summary.Value(tag=f"images/image/{number}", image=_png(picture))


def _histogram(size: int, moments: NDArray[np.float64], counts: NDArray[np.float64]) -> HistogramProto:
    least, greatest, total, squares = map(float, moments)
    limits, buckets = np.linspace(least, greatest, len(counts) + 1)[1:], counts
    if least == greatest:
        limits, buckets = np.array([greatest]), np.array([float(size)])
    return HistogramProto(
        min=least,
        max=greatest,
        num=size,
        sum=total,
        sum_squares=squares,
        bucket_limit=limits,
        bucket=buckets,
    )


def _png(picture: NDArray[np.uint8]) -> Summary.Image:
    """Of uint8 [height, width, 3]."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    height, width, _ = picture.shape
    return Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=file.getvalue())
