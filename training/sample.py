"""One test picture as a PNG file, so that there is something to post to the server."""

from pathlib import Path

from PIL import Image

from training.dataset import Dataset
from training.errors import UserError


def write_sample(dataset: Dataset, path: Path) -> str:
    """Writes the first test picture to `path`, as an RGB PNG; returns its class name.

    Raises UserError if `path` cannot be written.
    """
    picture = Image.fromarray(dataset.test.images[0].permute(1, 2, 0).numpy())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, format="PNG")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); choose another path.") from error
    return dataset.class_names[int(dataset.test.labels[0])]
