"""One test picture as a PNG file, so that there is something to post to the server."""

from pathlib import Path

from PIL import Image

from training.dataset import Dataset
from training.errors import UserError


def write_sample(dataset: Dataset, path: Path, index: int = 0) -> str:
    """Write test picture `index` to `path` as a 32x32 RGB PNG; returns its class name.

    Raises UserError if there is no such picture or `path` cannot be written.
    """
    pictures = len(dataset.test)
    if not 0 <= index < pictures:
        raise UserError(f"There is no test picture {index:,}; choose one from 0 to {pictures - 1:,}.")
    picture = Image.fromarray(dataset.test.images[index].permute(1, 2, 0).numpy())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, format="PNG")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); choose another path.") from error
    return dataset.class_names[int(dataset.test.labels[index])]
