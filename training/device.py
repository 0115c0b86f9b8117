"""Which device computes, and in which precision."""

from __future__ import annotations

import contextlib

import torch

from training.errors import UserError


def choose_device(name: str) -> torch.device:
    """`name` is one of `choices.DEVICES`. Raises UserError for "cuda" where there is no usable GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda needs an NVIDIA GPU with its driver and PyTorch sees none; use --device cpu or auto."
        )
    return torch.device(name)


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


def describe(device: torch.device) -> str:
    """For people: "NVIDIA H100 80GB HBM3", or "CPU, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
