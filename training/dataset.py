"""What every data set is in memory: two splits of labelled 32x32 pictures."""

import hashlib
from dataclasses import dataclass

import torch

_RECORDS_HASHED_AT_ONCE = 10_000


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled pictures, in the order of the files they came from."""

    images: torch.Tensor
    """uint8 [N, 3, 32, 32]: the red, green and blue plane of each picture, row by row."""

    labels: torch.Tensor
    """int64 [N]: positions in the data set's class names."""

    def __len__(self) -> int:
        return self.labels.shape[0]

    def sha256(self) -> str:
        """Hex SHA-256 of the records as CIFAR-10's binary version stores them.

        A record is one label byte and 3,072 pixel bytes. For CIFAR-10 this is therefore the sum of the
        split's files, one after another: `cat data_batch_?.bin | sha256sum`.
        """
        digest = hashlib.sha256()
        for start in range(0, len(self), _RECORDS_HASHED_AT_ONCE):
            part = slice(start, start + _RECORDS_HASHED_AT_ONCE)
            labels = self.labels[part].to("cpu", torch.uint8).unsqueeze(1)
            pixels = self.images[part].to("cpu").flatten(1)
            digest.update(torch.cat([labels, pixels], dim=1).numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split that share their classes."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
