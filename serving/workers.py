"""Several worker processes on one port: the kernel divides the connections among them, and this one watches over them.

Each worker is a whole server, with its own models, queue and event loop. What dies is started again. Signals are passed
on, and a worker whose supervisor is gone stops by itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from serving.api_keys import say_who_may_ask
from serving.listener import reserve, say_where, url_of
from serving.log_format import configure_logging
from serving.settings import MAX_PICTURES, Settings, UsageError

logger = logging.getLogger(__name__)

# prometheus_client looks for it when it is imported: the processes add up their metrics in files of this folder.
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SHORT_LIFE = 10.0  # seconds; who dies earlier, time and again, is started again later and later
LONGEST_PAUSE = 10.0

SPAWN = multiprocessing.get_context("spawn")


def supervise(settings: Settings, keys: Collection[str]) -> None:
    """Serve with ``settings.workers`` processes until SIGTERM or SIGINT.

    ``keys``: the API keys, the same for all of them. Raises UsageError when the settings cannot be kept.
    """
    configure_logging(settings.log_level, settings.log_format)
    with reserve(settings.host, settings.port) as reserved, _shared_metrics():
        say_who_may_ask(reserved, keys)
        # Threads, places in the queue and memory are the whole server's.
        share = replace(
            settings,
            port=reserved.getsockname()[1],
            inference_threads=max(1, settings.inference_threads // settings.workers),
            # However many they are, each has room for a request's pictures, or none would ever take them.
            max_queue=max(settings.max_queue // settings.workers, min(settings.max_queue, MAX_PICTURES)),
            max_upload_memory=max(1, settings.max_upload_memory // settings.workers),
        )
        with _Supervisor(share, keys) as supervisor:
            supervisor.start()
            say_where(url_of(settings.host, reserved))
            supervisor.run()
    logger.info("Stopped.")


@dataclass
class _Worker:
    number: int
    process: SpawnProcess
    ready: Connection
    started: float
    short_lives: int
    """How many of its forerunners died young, one after the other."""
    again_at: float | None = None
    """When a dead one is started again."""

    def last_words(self) -> str:
        """The sentence of the UsageError that a dead one ended with, unless it was read before; else nothing."""
        try:
            return str(self.ready.recv())
        except EOFError:
            return ""
        finally:
            self.ready.close()


class _Supervisor:
    def __init__(self, settings: Settings, keys: Collection[str]) -> None:
        """``settings``: of each worker."""
        self._settings, self._keys = settings, keys
        self._workers: dict[int, _Worker] = {}
        self._stopping = False
        # A worker reads the one end; at its end of file, nobody holds the other any more.
        self._lifeline, self._held = SPAWN.Pipe(duplex=False)

    def __enter__(self) -> _Supervisor:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        for worker in self._alive():
            worker.process.terminate()
        for worker in self._workers.values():
            worker.process.join()

    def start(self) -> None:
        """Start all of them, and wait until they listen. Raises the UsageError that one of them ends with."""
        # One alone first: what stops it stops all, and is said once.
        for numbers in ([0], range(1, self._settings.workers)):
            if self._stopping:
                return
            for number in numbers:
                self._begin(number)
            for number in numbers:
                self._wait_until_ready(self._workers[number])

    def run(self) -> None:
        """Watch over the workers until all have stopped after a signal."""
        while (alive := self._alive()) or not self._stopping:
            wait([worker.process.sentinel for worker in alive], timeout=0.5)
            for worker in list(self._workers.values()):
                if not self._stopping and not worker.process.is_alive():
                    self._replace(worker)

    def _begin(self, number: int, short_lives: int = 0) -> None:
        ready, told = SPAWN.Pipe(duplex=False)
        arguments = (self._settings, self._keys, number, self._lifeline, told)
        process = SPAWN.Process(target=_work, args=arguments, name=f"worker-{number}")
        process.start()
        told.close()
        self._workers[number] = _Worker(number, process, ready, time.monotonic(), short_lives)
        if self._stopping:  # by a signal meanwhile, which did not reach it
            process.terminate()

    def _wait_until_ready(self, worker: _Worker) -> None:
        try:
            mistake = worker.ready.recv()
        except EOFError:
            worker.process.join()
            mistake = f"worker {worker.number} ended with status {worker.process.exitcode} before it listened."
        if mistake and not self._stopping:
            raise UsageError(mistake)

    def _replace(self, dead: _Worker) -> None:
        """Say it at once; begin again at once too, or after a pause where it died young."""
        now = time.monotonic()
        if dead.again_at is None:
            lived = now - dead.started
            dead.short_lives = dead.short_lives + 1 if lived < SHORT_LIFE else 0
            dead.again_at = now + (min(LONGEST_PAUSE, 0.1 * 2**dead.short_lives) if dead.short_lives else 0)
            _forget_gauges(dead.number)
            reason = dead.last_words().rstrip(".")
            logger.error(
                "Worker %d ended with status %s after %.0f seconds%s; it is started again in %.1f seconds.",
                dead.number,
                dead.process.exitcode,
                lived,
                f" ({reason})" if reason else "",
                dead.again_at - now,
            )
        if now >= dead.again_at:
            self._begin(dead.number, dead.short_lives)

    def _alive(self) -> list[_Worker]:
        return [worker for worker in self._workers.values() if worker.process.is_alive()]

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            logger.info("%s: stopping; requests under way are answered.", signal.Signals(number).name)
        self._stopping = True
        for worker in self._alive():
            assert worker.process.pid is not None
            os.kill(worker.process.pid, number)


@contextmanager
def _shared_metrics() -> Iterator[None]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="serving-metrics-")
    except OSError as error:
        raise UsageError(
            f"several workers need a folder for their metrics, and none can be made ({error.strerror}); "
            "set TMPDIR to one that can be written, or use --workers 1."
        ) from None
    with folder as path:
        os.environ[METRICS_VARIABLE] = path
        try:
            yield
        finally:
            del os.environ[METRICS_VARIABLE]


def _forget_gauges(number: int) -> None:
    """Counters and histograms go on where the dead worker left them; what it held at that moment is gone."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(number, os.environ[METRICS_VARIABLE])  # type: ignore[no-untyped-call]


def _work(settings: Settings, keys: Collection[str], number: int, lifeline: Connection, told: Connection) -> None:
    """The worker's process: tells nothing when it listens, or the sentence of its UsageError."""
    # Ctrl-C in a terminal reaches the whole group; a worker is to hear of it once, from its supervisor.
    os.setpgid(0, 0)
    threading.Thread(target=_stop_without, args=(lifeline,), daemon=True).start()
    from prometheus_client import values

    # Files by worker rather than by process: one that is started again counts on in its own.
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
    from serving.server import serve

    try:
        serve(settings, keys, shared=True, when_listening=lambda _url: told.send(""))
    except UsageError as error:
        told.send(str(error))
        sys.exit(2)


def _stop_without(lifeline: Connection) -> None:
    wait([lifeline])
    os.kill(os.getpid(), signal.SIGTERM)
