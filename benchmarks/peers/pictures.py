"""CIFAR-10's training pictures for the peers, which read the same files as `training` and share no code with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_RECORD_BYTES = 1 + 3 * 32 * 32


def training_pictures(data_dir: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """uint8 [50000, 3, 32, 32] and their labels, int64 [50000], from `data_dir`/cifar-10-batches-bin."""
    files = [data_dir / "cifar-10-batches-bin" / f"data_batch_{number}.bin" for number in range(1, 6)]
    records = np.concatenate([np.fromfile(file, np.uint8) for file in files]).reshape(-1, _RECORD_BYTES)
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), records[:, 0].astype(np.int64)
