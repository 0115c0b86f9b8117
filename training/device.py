"""Which device computes, and in which precision."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from training.errors import UserError


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """`name` is one of `choices.DEVICES`; of a machine's GPUs, each of its ranks takes its own.

    Raises UserError for "cuda" where there is no usable GPU, or fewer than ranks.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            "--device cuda needs an NVIDIA GPU with its driver and PyTorch sees none; use --device cpu or auto."
        )
    gpus = torch.cuda.device_count()
    if local_rank >= gpus:
        raise UserError(
            f"There are more processes than GPUs on this machine, which has {gpus}; start one process a GPU, or add "
            "--device cpu."
        )
    return torch.device("cuda", local_rank)


def check_gpus(wanted: int) -> None:
    """Raises UserError where this machine has fewer GPUs."""
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < wanted:
        raise UserError(
            f"--gpus {wanted} needs as many NVIDIA GPUs and PyTorch sees {found}; ask for those that there are, or add "
            "--device cpu to train with as many processes on the CPU."
        )


def prepare(device: torch.device) -> None:
    """Settings of the whole process; call it once, before anything is computed on the device."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # CUDA graphs are captured from a stream that is not the default one; so everything runs on such a one.
        torch.cuda.set_stream(torch.cuda.Stream(device))
        # The same run gives the same weights to the bit, which choosing algorithms by the clock would not.
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False  # fp32 means float32


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy on the device. The host does not wait for a GPU to get to it, as it would were the memory not pinned."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def choose_precision(name: str, device: torch.device) -> str:
    """`name` is one of `choices.PRECISIONS`; "auto" is bf16 on Ampere and later, and on CPUs with AVX-512 BF16."""
    if name != "auto":
        return name
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        native = torch.cpu._is_avx512_bf16_supported()
    return "bf16" if native else "fp32"


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bf16: convolutions and matrix products in bfloat16, weights and the loss in float32. fp32: as written."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(device: torch.device) -> str:
    """For people: "NVIDIA H100 80GB HBM3", "CPU, 2 threads", "CPU, 1 thread"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


@contextlib.contextmanager
def telling_of_memory(purpose: str, remedy: str | None = None) -> Iterator[None]:
    """Turns running out of memory inside the block into a UserError, which says what for and what else helps."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        on_gpu = isinstance(error, torch.OutOfMemoryError)
        if not (on_gpu or isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)):
            raise
        raise UserError(
            f"The {'GPU' if on_gpu else 'machine'} has not enough free memory {purpose}; "
            f"{f'{remedy}, or ' if remedy else ''}end what else uses it."
        ) from error


def memory_to_evaluate(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """`telling_of_memory`, for evaluations."""
    return telling_of_memory("to evaluate the network", "add --device cpu" if device.type == "cuda" else None)
