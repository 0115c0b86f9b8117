"""Chooses onnxruntime's execution provider once, at start-up: CUDA where it works, the CPU otherwise."""

import contextlib
import ctypes
import io
from dataclasses import dataclass, field
from typing import Any

import onnxruntime

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# The smallest model there is, y = Identity(x) on one float: shows whether CUDA works without a bundle.
PROBE_MODEL = (
    b"\x08\x08:;\n\x10\n\x01x\x12\x01y\x22\x08Identity\x12\x05probe"
    b"Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
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
    # TF32 keeps ten bits of a float32's mantissa: the accuracy in the metadata was not measured with it.
    return Provider(CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}), ""


def _why_not_cuda() -> str:
    if CUDA not in onnxruntime.get_available_providers():
        return "this onnxruntime was built without CUDA"
    if not _has_device():
        return "no NVIDIA driver with a GPU was found"
    # preload_dlls reports a library that it cannot load by printing it.
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        onnxruntime.preload_dlls()
    try:
        session = onnxruntime.InferenceSession(PROBE_MODEL, providers=[(CUDA, {})], enable_fallback=0)
    except Exception as error:
        return f"onnxruntime could not use CUDA: {' '.join(str(error).split())[:300]}"
    if CUDA in session.get_providers():
        return ""
    return " ".join(printed.getvalue().split())[:300].rstrip(".") or "onnxruntime could not load its CUDA libraries"


def _has_device() -> bool:
    """Ask the driver for its devices: quick, and silent where there is none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
