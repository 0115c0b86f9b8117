"""The versions of one model on disk: loads the best, follows what is published, replaced and withdrawn."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.bundle import FILE_NAME, BundleError, BundleUnreadable, FileState, file_state
from serving.classifier import Classifier, load_classifier
from serving.providers import Provider

logger = logging.getLogger(__name__)

# The layout of NVIDIA Triton and TensorFlow Serving; config.pbtxt, dot-folders and the like are no versions.
VERSION_NAME = re.compile(r"[1-9][0-9]{0,17}")


class NotReady(Exception):
    """No version of the model can be served now; the text says why in one sentence."""


@dataclass(frozen=True)
class _Refusal:
    state: FileState
    reason: str
    final: bool


class ModelRepository:
    """Serves the highest valid version of ``models_dir/name``; one thread refreshes, any reads ``current``.

    A version that is replaced in place by a bad file, or followed by a bad higher one, goes on serving. A
    withdrawn version makes room for the next lower valid one; when none is left, nothing is served, as in
    NVIDIA Triton and TensorFlow Serving. While the models folder itself cannot be read, nothing changes.
    """

    def __init__(self, models_dir: Path, name: str, provider: Provider, threads: int = 1) -> None:
        self.name = name
        self.provider = provider
        self._threads = threads
        self.load_failures = 0
        self._models_dir = models_dir
        self._folder = models_dir / name
        self._current: tuple[Classifier, FileState] | None = None
        self._refusals: dict[int, _Refusal] = {}
        self._missed_before = False
        self._unreadable = False

    @property
    def current(self) -> Classifier | None:
        """The version that serves, or None."""
        served = self._current
        return served[0] if served else None

    @property
    def refused(self) -> dict[int, str]:
        """Versions on disk that were refused, and why."""
        return {version: refusal.reason for version, refusal in sorted(self._refusals.items())}

    def require(self) -> Classifier:
        """Return the version that serves; raises NotReady when there is none."""
        served = self.current
        if served is not None:
            return served
        if not self._refusals:
            raise NotReady(f"No version of the model {self.name!r} has been published yet.")
        versions = ", ".join(str(version) for version in self.refused)
        raise NotReady(f"Every published version of the model {self.name!r} was refused ({versions}); see the log.")

    def refresh(self) -> None:
        """Look at the disk once, and load, swap or withdraw; never raises for what lies there."""
        try:
            states = self._versions_on_disk()
        except OSError as error:
            if not self._unreadable:
                logger.warning("The folder of %s cannot be read (%s): nothing changes.", self.name, error.strerror)
            self._unreadable = True
            return
        self._unreadable = False
        self._refusals = {version: refusal for version, refusal in self._refusals.items() if version in states}
        if self.current is not None and self.current.version in states:
            self._missed_before = False
        for version in sorted(states, reverse=True):
            if self._serves(version, states[version]) or self._load(version, states[version]):
                return
            if self.current is not None and self.current.version == version:
                return
        self._withdraw()

    @contextmanager
    def watching(self, interval: float) -> Iterator[None]:
        """Refresh every ``interval`` seconds on a thread of its own for as long as the block runs."""
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(interval):
                try:
                    self.refresh()
                except Exception:
                    logger.exception("Looking for new versions of %s failed; the next look comes as usual.", self.name)

        # A daemon: loading a huge bundle must not hold up the end of the process.
        thread = threading.Thread(target=watch, name="model-repository", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=1)

    def _versions_on_disk(self) -> dict[int, FileState]:
        """Map each version to its file's state; raises OSError when the models folder is away."""
        states = {}
        try:
            entries = list(self._folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            # Only the model's folder may be missing: with the whole volume gone, nothing was withdrawn.
            self._models_dir.stat()
            return {}
        for entry in entries:
            if VERSION_NAME.fullmatch(entry.name):
                try:
                    states[int(entry.name)] = file_state(entry / FILE_NAME)
                except (FileNotFoundError, NotADirectoryError):
                    continue
        return states

    def _serves(self, version: int, state: FileState) -> bool:
        served = self._current
        if served is None or served[0].version != version or served[1] != state:
            return False
        # The file came back to the content that is served.
        self._refusals.pop(version, None)
        return True

    def _load(self, version: int, state: FileState) -> bool:
        """Load, validate and warm a version, then swap it in; False when it is or was refused."""
        known = self._refusals.get(version)
        if known is not None and known.state == state and known.final:
            return False
        try:
            classifier = load_classifier(self._models_dir, self.name, version, self.provider, self._threads)
        except BundleError as error:
            self._refuse(version, _Refusal(state, str(error), final=not isinstance(error, BundleUnreadable)))
            return False
        previous = self.current
        self._current = (classifier, state)
        self._missed_before = False
        self._refusals.pop(version, None)
        self._announce(classifier, previous)
        return True

    def _refuse(self, version: int, refusal: _Refusal) -> None:
        """Remember a refusal; say it once for each state of the file and reason."""
        if self._refusals.get(version) != refusal:
            self.load_failures += 1
            served = self.current
            instead = f"version {served.version} goes on serving" if served else "looking for a lower one"
            logger.error("Refused %s version %d: %s (%s)", self.name, version, refusal.reason, instead)
        self._refusals[version] = refusal

    def _announce(self, classifier: Classifier, previous: Classifier | None) -> None:
        metadata = classifier.metadata
        logger.info(
            "%s %s version %d: %s accuracy %.2f %% of %d pictures, %s%s",
            "Serving" if previous is None else "Now serving",
            self.name,
            classifier.version,
            metadata.eval_split,
            100 * metadata.eval_accuracy,
            metadata.eval_pictures,
            classifier.provider.name,
            "" if previous is None else f" (before: version {previous.version})",
        )

    def _withdraw(self) -> None:
        """Stop serving a version that is gone from disk at two looks in a row.

        One look may fall between the two renames of a replacement.
        """
        if self._current is None:
            return
        if not self._missed_before:
            self._missed_before = True
            return
        logger.warning("%s version %d was withdrawn, and no other can be served.", self.name, self._current[0].version)
        self._current = None
