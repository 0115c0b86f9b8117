"""Chooses onnxruntime's execution provider once, at start-up: CUDA where it works, the CPU otherwise."""

import contextlib
import ctypes
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
CUDA_OPTIONS = {
    "use_tf32": "0",  # it keeps ten bits of a float32's mantissa: accuracies were not measured with it
    "cudnn_conv_algo_search": "HEURISTIC",  # not by the clock, which each new size of a batch would wait for
}

# y = Conv(x, w), float32 [1, 1, 1, 1] each, w = 1: shows whether CUDA and cuDNN work without a bundle.
PROBE_MODEL = (
    b"\x08\x08:g\n\x0f\n\x01x\n\x01w\x12\x01y\x22\x04Conv\x12\x05probe"
    b"*\x13\x08\x01\x08\x01\x08\x01\x08\x01\x10\x01\x22\x04\x00\x00\x80?B\x01w"
    b"Z\x1b\n\x01x\x12\x16\n\x14\x08\x01\x12\x10\n\x02\x08\x01\n\x02\x08\x01\n\x02\x08\x01\n\x02\x08\x01"
    b"b\x1b\n\x01y\x12\x16\n\x14\x08\x01\x12\x10\n\x02\x08\x01\n\x02\x08\x01\n\x02\x08\x01\n\x02\x08\x01"
    b"B\x04\n\x00\x10\r"
)


@dataclass(frozen=True)
class Provider:
    """An execution provider by onnxruntime's name, and its options."""

    name: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def session_argument(self) -> list[Any]:
        """The ``providers`` argument of InferenceSession; operators that CUDA lacks run on the CPU."""
        return [(self.name, self.options)] + ([(CPU, {})] if self.name != CPU else [])


def choose_provider() -> tuple[Provider, str]:
    """Return the provider to use, and why it is not CUDA (empty when it is)."""
    # onnxruntime writes to standard error on its own; what matters arrives as exceptions too.
    onnxruntime.set_default_logger_severity(4)
    reason = _why_not_cuda()
    if reason:
        return Provider(CPU), reason
    return Provider(CUDA, CUDA_OPTIONS), ""


def _why_not_cuda() -> str:
    if CUDA not in onnxruntime.get_available_providers():
        return "this onnxruntime was built without CUDA"
    if not has_gpu():
        return "no NVIDIA driver with a GPU was found"
    # preload_dlls reports a library that it cannot load by printing it.
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        onnxruntime.preload_dlls()
    try:
        session = onnxruntime.InferenceSession(PROBE_MODEL, providers=[(CUDA, {})], enable_fallback=0)
        # A session is made without cuDNN too; what needs it fails when it is run.
        session.run(["y"], {"x": np.ones((1, 1, 1, 1), np.float32)})
    except Exception as error:
        return f"onnxruntime could not use CUDA: {' '.join(str(error).split())[:300]}"
    if CUDA in session.get_providers():
        return ""
    return " ".join(printed.getvalue().split())[:300].rstrip(".") or "onnxruntime could not load its CUDA libraries"


def has_gpu() -> bool:
    """Ask NVIDIA's driver for its devices: quick, and silent where there is none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
