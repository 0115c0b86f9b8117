"""An int8 bundle beside the float32 one of the same weights, on one CPU thread in onnxruntime, with test pictures.

Claimed: at most 0.6 of float32's time a picture at batch 1, 8 and 32, on a CPU with VNNI. n: 9 rounds, in which the
two take turns; a round is at least 200 pictures and 8 batches.

    python -m training export --run-dir RUN --name float32
    python -m training export --run-dir RUN --name int8 --quantize int8
    python -m benchmarks.quantization models/float32/1/model.onnx models/int8/1/model.onnx
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.flags import add_data_dir, positive, run
from benchmarks.spread import spread
from training import cifar10
from training.provenance import libraries

BATCHES = (1, 8, 32)  # pictures
PICTURES = 200  # a round, at least
REPEATS = 8  # a round, at least


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser("python -m benchmarks.quantization", description=__doc__.split("\n")[0])
    described.add_argument("float32", type=Path, help="the float32 bundle's model.onnx")
    described.add_argument("int8", type=Path, help="the int8 bundle's")
    described.add_argument("--rounds", type=positive, default=9, help="turns of each (default: %(default)s)")
    add_data_dir(described)
    return described


def measure(args: argparse.Namespace) -> None:
    images = cifar10.read(cifar10.directory(args.data_dir)).test.images[: max(BATCHES)]
    pictures = images.permute(0, 2, 3, 1).contiguous().numpy()
    described = machine.describe()
    bundles = [_open(args.float32), _open(args.int8)]
    print("| batch | float32, ms a picture | int8, ms a picture | of float32's time |\n|---|---|---|---|")
    for batch in BATCHES:
        rounds = [[_milliseconds(bundle, pictures[:batch]) for bundle in bundles] for _ in range(args.rounds)]
        before, after = ([times[number] for times in rounds] for number in (0, 1))
        ratios = [one / other for one, other in zip(after, before, strict=True)]
        print(f"| {batch} | {spread(before, '.3f')} | {spread(after, '.3f')} | {spread(ratios, '.2f')} |", flush=True)
    print(
        "\n" + "\n".join(_facts(path, bundle) for path, bundle in zip((args.float32, args.int8), bundles, strict=True))
    )
    print(f"{described}\n- onnxruntime-gpu {libraries(['onnxruntime-gpu'])['onnxruntime-gpu']}, on the CPU, 1 thread")


def _open(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors alone
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _milliseconds(bundle: onnxruntime.InferenceSession, pictures: NDArray[np.uint8]) -> float:
    """A picture."""
    repeats = max(REPEATS, PICTURES // len(pictures))
    bundle.run(None, {"images": pictures})
    start = time.perf_counter()
    for _ in range(repeats):
        bundle.run(None, {"images": pictures})
    return (time.perf_counter() - start) / repeats / len(pictures) * 1000


def _facts(path: Path, bundle: onnxruntime.InferenceSession) -> str:
    accuracy = float(bundle.get_modelmeta().custom_metadata_map["eval_accuracy"])
    return f"- {path}: {path.stat().st_size:,} bytes, precision @ 1 {100 * accuracy:.2f} %"


if __name__ == "__main__":
    sys.exit(run(measure, parser(), sys.argv[1:]))
