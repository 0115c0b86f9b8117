"""The model that ships: which of its versions .gitignore lets into the repository."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = Path("models") / "cifar10"


def shipped_versions() -> list[Path]:
    """The folders of those that are there, relative to the repository, the highest version last."""
    let_in = re.findall(rf"^!/{MODEL.as_posix()}/([0-9]+)/$", (REPOSITORY / ".gitignore").read_text(), re.MULTILINE)
    folders = [MODEL / version for version in sorted(let_in, key=int)]
    return [folder for folder in folders if (REPOSITORY / folder).is_dir()]
