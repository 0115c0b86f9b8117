"""Fusing the network's kernels with torch.compile, where that works, and before the clock of the training starts."""

from __future__ import annotations

import time
from typing import cast

import torch
from torch import nn

from training.device import autocast
from training.say import Say


def compiled(network: nn.Module, images: torch.Tensor, precision: str, say: Say) -> nn.Module:
    """`network`, compiled for batches that look like `images`, forward and backward; `say` is told how long it took.

    The weights are shared, and its buffers are afterwards what they were. Where it cannot be compiled (there is no C
    compiler, the GPU is too old, …) `say` is told why, and what is returned is the network itself.
    """
    began = time.perf_counter()
    # Nothing that rounds otherwise is chosen by the clock: the same run gives the same weights to the bit.
    fused = cast(nn.Module, torch.compile(network, options={"deterministic": True}))
    before = [buffer.clone() for buffer in network.buffers()]
    try:
        with autocast(precision, images.device):
            logits = fused(images)
        logits.float().sum().backward()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # compilers fail in more ways than one type of exception covers
        reason = next((line for line in str(error).splitlines() if line), type(error).__name__)
        say(f"The network runs as written, and slower: torch.compile failed ({reason}).")
        return network
    finally:
        network.zero_grad()
        for buffer, value in zip(network.buffers(), before, strict=True):
            buffer.copy_(value)
    say(f"Compiling the network took {time.perf_counter() - began:.1f} s.")
    return fused
