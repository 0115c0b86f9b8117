"""What a measurement was made on: without it a figure means nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from training.provenance import libraries, now, source_revision


def cores() -> int:
    """Those that this process may use: fewer than the machine has under taskset or in a container."""
    return len(os.sched_getaffinity(0))


def describe() -> str:
    """A Markdown list: date, processor, GPU, load, versions. Call it before the measurement, which is load itself."""
    versions = ", ".join(f"{name} {version}" for name, version in libraries(["torch", "torchvision"]).items())
    lines = [
        f"date: {now()}",
        f"processor: {_processor()}, {cores()} cores used, load average before {os.getloadavg()[0]:.2f}",
        f"GPU: {_gpus()}",
        f"system: {platform.system()} {platform.release()}, {versions}",
        f"OMP_NUM_THREADS: {os.environ.get('OMP_NUM_THREADS', 'not set')} (PyTorch obeys it, TensorFlow does not)",
        f"revision: {source_revision()}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _gpus() -> str:
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return f"{len(names)} x {names[0]}" if names else "none"
