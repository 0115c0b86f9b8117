"""The versions of one model: loads the highest valid ones, follows what is published, replaced and withdrawn."""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.bundle import FILE_NAME, BundleError, BundleUnreadable, FileState, Threads, file_state
from serving.classifier import Classifier, load_classifier
from serving.providers import Provider

logger = logging.getLogger(__name__)

# The layout of NVIDIA Triton and TensorFlow Serving; config.pbtxt, dot-folders and the like are no versions.
VERSION_NAME = re.compile(r"[1-9][0-9]{0,17}")
# No file is in this state: whoever tries to load it is told what keeps it from being read.
_UNREADABLE: FileState = (0, 0, 0, 0)
_MOST_NAMED = 20  # in a sentence


class NotReady(Exception):
    """What was asked for cannot be served now; the text says why in one sentence."""


class UnknownModel(Exception):
    """There is no such model, or no such version of it; the text says in one sentence which there are."""


@dataclass(frozen=True)
class _Loaded:
    classifier: Classifier
    state: FileState


@dataclass(frozen=True)
class _Refusal:
    state: FileState
    reason: str
    final: bool


class ModelRepository:
    """Keeps the highest valid versions of ``models_dir/name`` loaded; one thread refreshes, any reads.

    A version that is replaced in place by a bad file, or followed by a bad higher one, goes on serving. A withdrawn
    version makes room for the next lower valid one; when none is left, nothing is served, as in NVIDIA Triton and
    TensorFlow Serving. While the folder cannot be read, nothing changes.
    """

    def __init__(self, models_dir: Path, name: str, provider: Provider, threads: Threads, most_versions: int) -> None:
        self.name = name
        self.provider = provider
        self.load_failures = 0
        self._models_dir = models_dir
        self._folder = models_dir / name
        self._threads = threads
        self._most_versions = most_versions
        self._current: Classifier | None = None
        self._loaded: Mapping[int, _Loaded] = {}
        self._refusals: Mapping[int, _Refusal] = {}
        self._missed: frozenset[int] = frozenset()
        self._unreadable = False

    @property
    def current(self) -> Classifier | None:
        """The version that serves who names none: the highest one that is loaded, or None."""
        return self._current

    @property
    def versions(self) -> dict[int, Classifier]:
        """The versions that are loaded, in ascending order."""
        return {version: loaded.classifier for version, loaded in sorted(self._loaded.items())}

    @property
    def refused(self) -> dict[int, str]:
        """Versions on disk that were refused, and why; the content that one had before may be loaded still."""
        return {version: refusal.reason for version, refusal in sorted(self._refusals.items())}

    @property
    def is_there(self) -> bool:
        """Whether anything was published, and not withdrawn since."""
        return bool(self._loaded or self._refusals)

    def require(self, version: int | None = None) -> Classifier:
        """Return a loaded version, the highest where none is named.

        Raises NotReady when there is none or it was refused, UnknownModel when there is no such version.
        """
        if version is None:
            if self._current is not None:
                return self._current
            raise NotReady(self._why_nothing_is_loaded())
        loaded = self._loaded.get(version)
        if loaded is not None:
            return loaded.classifier
        refusal = self._refusals.get(version)
        if refusal is not None:
            raise NotReady(f"Version {version} of the model {self.name!r} was refused: {refusal.reason}")
        raise UnknownModel(f"The model {self.name!r} has no version {version}; loaded are: {enumerated(self._loaded)}.")

    def _why_nothing_is_loaded(self) -> str:
        if not self._refusals:
            return f"No version of the model {self.name!r} has been published yet."
        versions = enumerated(self._refusals)
        return f"Every published version of the model {self.name!r} was refused ({versions}); see the log."

    def refresh(self, most_versions: int | None = None) -> None:
        """Look at the disk once: load, swap, withdraw; never raises for what lies there.

        ``most_versions``: fewer than usual, for who wants one soon.
        """
        try:
            states = self._versions_on_disk()
        except OSError as error:
            if not self._unreadable:
                logger.warning("The folder of %s cannot be read (%s): nothing changes.", self.name, error.strerror)
            self._unreadable = True
            return
        self._unreadable = False
        self._refusals = {version: refusal for version, refusal in self._refusals.items() if version in states}
        # One look may fall between the two renames of a replacement: what is gone at two in a row was withdrawn.
        missing = self._loaded.keys() - states
        withdrawn = missing & self._missed
        self._missed = frozenset(missing - withdrawn)
        self._load_highest(states, withdrawn, self._most_versions if most_versions is None else most_versions)

    def _load_highest(self, states: Mapping[int, FileState], withdrawn: set[int], most: int) -> None:
        """Load the highest first, each serving from then on; then drop all that are not among them."""
        loaded_before = self._loaded
        kept: dict[int, _Loaded] = {}
        for version in sorted(states.keys() | self._missed, reverse=True):
            if len(kept) == most:
                break
            before = loaded_before.get(version)
            loaded = self._loaded_from(version, states[version]) if version in states else before
            if loaded is None:
                continue
            kept[version] = loaded
            others = {other: loaded_before[other] for other in loaded_before.keys() - withdrawn}
            self._serve(others | kept)
            if loaded is not before and loaded.classifier is not self._current:
                logger.info("Loaded %s", _in_words(loaded.classifier))
        for version in sorted(loaded_before.keys() - kept):
            if version in withdrawn:
                logger.warning("%s version %d was withdrawn.", self.name, version)
            else:
                logger.info("%s version %d makes room: %d higher ones are loaded.", self.name, version, len(kept))
        self._serve(kept)

    def _versions_on_disk(self) -> dict[int, FileState]:
        """Map each version to its file's state; raises OSError when the models folder is away."""
        try:
            names = os.listdir(self._folder)
        except (FileNotFoundError, NotADirectoryError):
            # Only the model's folder may be missing: with the whole volume gone, nothing was withdrawn.
            self._models_dir.stat()
            return {}
        states = {}
        for name in names:
            if VERSION_NAME.fullmatch(name):
                try:
                    states[int(name)] = file_state(self._folder / name / FILE_NAME)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except OSError:
                    states[int(name)] = _UNREADABLE
        return states

    def _loaded_from(self, version: int, state: FileState) -> _Loaded | None:
        """Return what is loaded of a version, after loading it where its file is new and good."""
        before = self._loaded.get(version)
        known = self._refusals.get(version)
        if before is not None and before.state == state:
            self._forget_refusal(version)  # the file came back to the content that is loaded
            return before
        if known is not None and known.state == state and known.final:
            return before
        try:
            classifier = load_classifier(self._models_dir, self.name, version, self.provider, self._threads)
        except BundleError as error:
            self._refuse(version, _Refusal(state, str(error), final=not isinstance(error, BundleUnreadable)))
            return before
        self._forget_refusal(version)
        return _Loaded(classifier, state)

    def _refuse(self, version: int, refusal: _Refusal) -> None:
        """Remember a refusal; say it once for each state of the file and reason."""
        if self._refusals.get(version) != refusal:
            self.load_failures += 1
            served = self._current
            instead = f"version {served.version} goes on serving" if served else "looking for a lower one"
            logger.error("Refused %s version %d: %s (%s)", self.name, version, refusal.reason, instead)
        self._refusals = {**self._refusals, version: refusal}

    def _forget_refusal(self, version: int) -> None:
        if version in self._refusals:
            self._refusals = {other: self._refusals[other] for other in self._refusals if other != version}

    def _serve(self, loaded: Mapping[int, _Loaded]) -> None:
        """From now on, these; whoever has begun with another one keeps it to the end of the request."""
        before = self._current
        self._loaded = loaded
        self._current = loaded[max(loaded)].classifier if loaded else None
        if self._current is before:
            return
        if self._current is None:
            logger.warning("%s has no version that can be served any more.", self.name)
        elif before is None:
            logger.info("Serving %s", _in_words(self._current))
        elif before.version == self._current.version:
            logger.info("Now serving the new content of %s", _in_words(self._current))
        else:
            logger.info("Now serving %s (before: version %d)", _in_words(self._current), before.version)


def _in_words(classifier: Classifier) -> str:
    metadata = classifier.metadata
    return (
        f"{classifier.name} version {classifier.version}: {metadata.eval_split} accuracy "
        f"{100 * metadata.eval_accuracy:.2f} % of {metadata.eval_pictures} pictures, {classifier.provider.name}"
    )


def enumerated(names: Mapping[int, object] | Mapping[str, object]) -> str:
    """Write the first of the names, in order, for a sentence: ``1, 2 and 7 more``."""
    ordered = [str(name) for name in sorted(names)]
    more = f" and {len(ordered) - _MOST_NAMED} more" if len(ordered) > _MOST_NAMED else ""
    return ", ".join(ordered[:_MOST_NAMED]) + more or "none"
