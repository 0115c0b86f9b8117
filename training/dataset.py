"""What every data set is in memory: two splits of labelled square pictures."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import torch

_BYTES_HASHED_AT_ONCE = 32 * 2**20
_LABELS_IN_A_BYTE = 256


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled pictures, in the order of the files they came from."""

    images: torch.Tensor
    """uint8 [N, 3, S, S]: the red, green and blue plane of each picture, row by row."""

    labels: torch.Tensor
    """int64 [N]: positions in the data set's class names."""

    known_sha256: str | None = None
    """What `sha256` returns, where somebody has kept it: gigabytes of pictures take seconds."""

    def __len__(self) -> int:
        return self.labels.shape[0]

    def sha256(self) -> str:
        """Hex SHA-256 of the records as CIFAR-10's binary version stores them.

        A record is one label byte and 3 * S * S pixel bytes; where a label is above 255, all labels have two bytes, the
        higher first. For CIFAR-10 this is therefore the sum of the split's files, one after another:
        `cat data_batch_?.bin | sha256sum`.
        """
        return self.known_sha256 or self._computed_sha256

    @cached_property
    def _computed_sha256(self) -> str:
        digest = hashlib.sha256()
        label_bytes = 2 if bool((self.labels >= _LABELS_IN_A_BYTE).any()) else 1
        at_once = max(1, _BYTES_HASHED_AT_ONCE // math.prod(self.images.shape[1:]))
        for start in range(0, len(self), at_once):
            part = slice(start, start + at_once)
            labels = self.labels[part].to("cpu").unsqueeze(1)
            high_and_low = torch.cat([labels >> 8, labels], dim=1).to(torch.uint8)
            pixels = self.images[part].to("cpu").flatten(1)
            digest.update(torch.cat([high_and_low[:, -label_bytes:], pixels], dim=1).numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split that share their classes."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split

    test_share: float | None = None
    """How many of all pictures were put into `test`, where they did not come divided."""
