"""All models of the folder: found as they are published, forgotten when they are withdrawn."""

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serving.bundle import Threads
from serving.classifier import Classifier
from serving.providers import Provider
from serving.repository import ModelRepository, NotReady, UnknownModel, enumerated
from serving.setting_values import MODEL_NAME

logger = logging.getLogger(__name__)


class Models:
    """Every folder of ``models_dir`` that holds a version is a model; one thread refreshes, any reads.

    What is wrong with one model changes nothing for the others. While the folder cannot be read, nothing changes.
    """

    def __init__(
        self, models_dir: Path, default: str, provider: Provider, *, threads: Threads, most_versions: int
    ) -> None:
        """``default``: the model of whoever names none. ``most_versions``: of each model, its highest valid ones."""
        self.default = default
        self.provider = provider
        self._models_dir = models_dir
        self._threads, self._most_versions = threads, most_versions
        self._default = self._new(default)
        # Every folder that may be a model's, so that each complaint is made once.
        self._watched = {default: self._default}
        self._repositories: Mapping[str, ModelRepository] = {default: self._default}
        self._looked = False
        self._unreadable = False

    def find(self, name: str | None = None, version: int | None = None) -> Classifier:
        """Return a version of a model, the default one's highest where nothing is named.

        Raises UnknownModel when there is no such model or version, NotReady when it cannot be served now.
        """
        if name is None and version is None:
            return self._require_default()
        repository = self.repository(self.default if name is None else name)
        try:
            return repository.require(version)
        except UnknownModel as error:
            raise self._unless_loading(error) from None

    def _require_default(self) -> Classifier:
        try:
            return self._default.require()
        except NotReady as reason:
            others = {name: repository for name, repository in self._repositories.items() if repository.current}
            if not others:
                raise
            raise NotReady(f"{reason} Others are served, to whoever names them: {enumerated(others)}.") from None

    def repository(self, name: str) -> ModelRepository:
        """Return the model of this name; raises UnknownModel, or NotReady as long as not all have been loaded."""
        found = self._repositories.get(name)
        if found is None:
            there = enumerated(self._repositories)
            raise self._unless_loading(UnknownModel(f"There is no model {name[:128]!r}; there are: {there}."))
        return found

    def repositories(self) -> list[ModelRepository]:
        """All models in the order of their names; the default one even before it is published."""
        return [repository for _, repository in sorted(self._repositories.items())]

    def others_on_disk(self) -> list[str]:
        """Name the folders beside the default model's; none while they cannot be read."""
        try:
            return sorted(self._names_on_disk() - {self.default})
        except OSError:
            return []

    def load_default(self) -> None:
        """Load the version that serves whoever names none, and nothing else yet."""
        self._default.refresh(most_versions=1)

    def refresh(self) -> None:
        """Look at the disk once, at the default model first; never raises for what lies there."""
        try:
            names = self._names_on_disk()
        except OSError as error:
            if not self._unreadable:
                logger.warning("The folder of the models cannot be read (%s): nothing changes.", error.strerror)
            self._unreadable = True
            return
        self._unreadable = False
        for name in (self.default, *sorted((names | self._watched.keys()) - {self.default})):
            if name not in self._watched:
                self._watched[name] = self._new(name)
            self._refresh_one(self._watched[name], name in names)
        self._looked = True

    @contextmanager
    def watching(self, interval: float) -> Iterator[None]:
        """Refresh at once, and every ``interval`` seconds, on a thread of its own for as long as the block runs."""
        stop = threading.Event()

        def watch() -> None:
            while True:
                try:
                    self.refresh()
                except Exception:
                    logger.exception("Looking for new models and versions failed; the next look comes as usual.")
                if stop.wait(interval):
                    return

        # A daemon: loading a huge bundle must not hold up the end of the process.
        thread = threading.Thread(target=watch, name="models", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=1)

    def _new(self, name: str) -> ModelRepository:
        return ModelRepository(self._models_dir, name, self.provider, self._threads, self._most_versions)

    def _names_on_disk(self) -> set[str]:
        """Names of the folders that may be models'; raises OSError when the models folder is away."""
        with os.scandir(self._models_dir) as entries:
            return {entry.name for entry in entries if MODEL_NAME.fullmatch(entry.name) and entry.is_dir()}

    def _refresh_one(self, repository: ModelRepository, is_on_disk: bool) -> None:
        """Refresh one model, which is there for everyone as soon as it has been."""
        name = repository.name
        try:
            repository.refresh()
        except Exception:
            logger.exception("Looking at the model %s failed; the next look comes as usual.", name)
        is_model = repository.is_there or repository is self._default
        if is_model != (name in self._repositories):
            others = {other: self._repositories[other] for other in self._repositories if other != name}
            self._repositories = {**others, name: repository} if is_model else others
        if not is_on_disk and not is_model:
            del self._watched[name]

    def _unless_loading(self, error: UnknownModel) -> UnknownModel | NotReady:
        """Before everything has been looked at once, nothing can be called unknown."""
        return error if self._looked else NotReady("The server has just started and loads its models; try again soon.")
