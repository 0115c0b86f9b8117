"""Loads one version of a model from disk, once and for a single use: nothing is watched or swapped."""

import logging
from pathlib import Path

from serving.bundle import FILE_NAME, BundleError, Threads
from serving.classifier import Classifier, load_classifier
from serving.providers import choose_provider
from serving.repository import VERSION_NAME
from serving.settings import UsageError

logger = logging.getLogger(__name__)


def load_model(models_dir: Path, name: str, version: int | None, threads: int) -> Classifier:
    """Load the version that is asked for, or the highest valid one; those refused on the way are warned of.

    Raises UsageError when there is none.
    """
    versions = _versions(models_dir, name)
    if version is not None:
        if version not in versions:
            shown = ", ".join(str(number) for number in sorted(versions))
            raise UsageError(f"the model {name!r} has no version {version}; choose one of {shown} with --version.")
        versions = [version]
    provider, _ = choose_provider()
    for number in sorted(versions, reverse=True):
        try:
            return load_classifier(models_dir, name, number, provider, Threads(batch=threads, lone=threads))
        except BundleError as refusal:
            logger.warning("%s version %d is refused: %s", name, number, refusal)
    raise UsageError(f"no version of the model {name!r} can be used; publish one, or name another with --model.")


def _versions(models_dir: Path, name: str) -> list[int]:
    """List the versions on disk; raises UsageError when there is none."""
    try:
        names = sorted(entry.name for entry in models_dir.iterdir() if entry.is_dir())
        if name not in names:
            there = ", ".join(name for name in names if not name.startswith(".")) or "none"
            raise UsageError(f"{str(models_dir)!r} has no model {name!r}; name one that it has with --model: {there}.")
        entries = list((models_dir / name).iterdir())
        versions = [int(e.name) for e in entries if VERSION_NAME.fullmatch(e.name) and (e / FILE_NAME).exists()]
    except OSError as error:
        raise UsageError(
            f"the models in {str(models_dir)!r} cannot be read ({error.strerror}); name others with --models-dir."
        ) from None
    if not versions:
        raise UsageError(f"no version of the model {name!r} has been published yet; train and export one.")
    return versions
