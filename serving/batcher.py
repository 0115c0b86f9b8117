"""Pictures -> batches -> answers.

One thread runs the network, on whatever has queued meanwhile. No timer holds a lone request back for company that may
not come, and under load batches grow by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from serving.batch_metrics import BatchMetrics
from serving.classifier import Classifier, InferenceFailed
from serving.current_request import current_request_id, note_stage
from serving.predictions import Prediction
from serving.providers import CUDA

logger = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 5  # of runs on a GPU, which is then taken to be lost
STUCK_SECONDS = 60.0  # no run takes that long: a classifier's greatest batch is a matter of its time


class InferenceStuck(Exception):
    """Pictures are not being answered; the text is one sentence."""


@dataclass(slots=True, eq=False)
class _Job:
    classifier: Classifier
    picture: NDArray[np.uint8]
    answer: asyncio.Future[Prediction]
    queued: float
    began: float = 0.0
    """When its batch began; the time before belongs to the queue."""
    request_id: str = field(default_factory=current_request_id)


class Batcher:
    """Used by one event loop. Where that ends before all is answered, nobody waits for the rest."""

    def __init__(self, metrics: BatchMetrics) -> None:
        self._metrics = metrics
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # Of the thread's own.
        self._waiting: dict[Classifier, deque[_Job]] = {}
        self._last: Classifier | None = None
        self._ending = False
        # Of all threads that run the network.
        self._watching = threading.Lock()
        self._runs: dict[object, float] = {}  # those under way, with the times of their beginnings
        self._failures = 0  # in a row, on a GPU
        self._thread = self._start()

    def close(self) -> None:
        """Ends the thread once it has answered all that waits."""
        self._jobs.put(None)
        self._thread.join()

    def check_alive(self) -> None:
        """Raises InferenceStuck where pictures are not answered.

        The thread is dead, a run takes too long, whichever thread's it is, or the GPU is lost.
        """
        if not self._thread.is_alive():
            raise InferenceStuck("The inference thread is dead; the next picture starts it again.")
        with self._watching:
            oldest = min(self._runs.values(), default=float("inf"))
        if time.monotonic() - oldest > STUCK_SECONDS:
            raise InferenceStuck(f"A batch has been running for over {STUCK_SECONDS:g} seconds.")
        if self._failures >= FAILURES_IN_A_ROW:
            raise InferenceStuck(f"The last {self._failures} batches could not be run on the GPU.")

    async def classify(self, classifier: Classifier, picture: NDArray[np.uint8]) -> Prediction:
        """Answers for one picture, uint8 [height, width, 3] of the classifier's size; raises InferenceFailed."""
        if not self._thread.is_alive():
            logger.error("The inference thread has died; it is started again.")
            self._thread = self._start()
        job = _Job(classifier, picture, asyncio.get_running_loop().create_future(), time.monotonic())
        self._jobs.put(job)
        prediction = await job.answer
        note_stage("queue", job.queued, job.began)
        note_stage("inference", job.began, time.monotonic())
        return prediction

    def classify_at_once(self, classifier: Classifier, picture: NDArray[np.uint8]) -> Prediction:
        """The same on the calling thread, which waits for it."""
        began = time.monotonic()
        self._metrics.wait.observe(0)
        self._metrics.size.observe(1)
        with self.watched_run(classifier):
            outcome = classifier.classify(picture[np.newaxis])[0]
        note_stage("inference", began, time.monotonic())
        if isinstance(outcome, InferenceFailed):
            raise outcome
        return outcome

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="inference", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        while jobs := self._take():
            try:
                self._answer([job for job in jobs if not job.answer.cancelled()])
            except BaseException as error:
                logger.exception("A batch of %d failed: %s.", len(jobs), ", ".join(job.request_id for job in jobs))
                failed = InferenceFailed("The batch of this picture could not be run.")
                self._deliver(jobs, [failed] * len(jobs))
                if not isinstance(error, Exception):
                    raise

    def _take(self) -> list[_Job]:
        """Waits for a job, and takes what has queued for one classifier; nothing at the end.

        Classifiers take turns, so that however many pictures wait for one, the others' wait for a batch of it.
        """
        while not self._ending:
            try:
                job = self._jobs.get(block=not self._waiting)
            except Empty:
                break
            if job is None:
                self._ending = True
            else:
                self._waiting.setdefault(job.classifier, deque()).append(job)
        if not self._waiting:
            return []
        self._last = next((each for each in self._waiting if each is not self._last), self._last)
        assert self._last is not None
        jobs = self._waiting.pop(self._last)
        taken = [jobs.popleft() for _ in range(min(len(jobs), self._last.most_at_once))]
        if jobs:
            self._waiting[self._last] = jobs  # behind the others
        return taken

    def _answer(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        began = time.monotonic()
        for job in jobs:
            job.began = began
            self._metrics.wait.observe(began - job.queued)
        self._metrics.size.observe(len(jobs))
        classifier = jobs[0].classifier
        with self.watched_run(classifier):
            outcomes = classifier.classify(np.stack([job.picture for job in jobs]))
        self._deliver(jobs, outcomes)

    @contextmanager
    def watched_run(self, classifier: Classifier) -> Iterator[None]:
        """Around a run of the network, on any thread, so that `check_alive` knows of it: when it began, how it ended.

        After some errors of a GPU all later runs of the process fail, whichever thread they are of.
        """
        run = object()
        with self._watching:
            self._runs[run] = time.monotonic()
        try:
            yield
        except InferenceFailed:
            with self._watching:
                self._failures += classifier.provider.name == CUDA
            raise
        else:
            with self._watching:
                self._failures = 0
        finally:
            with self._watching:
                del self._runs[run]

    @staticmethod
    def _deliver(jobs: Sequence[_Job], outcomes: Sequence[Prediction | Exception]) -> None:
        """The event loop is woken once for all of them."""
        loop = jobs[0].answer.get_loop()
        try:
            loop.call_soon_threadsafe(_set, jobs, outcomes)
        except RuntimeError:
            # The server has stopped without these answers.
            if not loop.is_closed():
                raise


def _set(jobs: Sequence[_Job], outcomes: Sequence[Prediction | Exception]) -> None:
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.answer.done():  # cancelled
            continue
        if isinstance(outcome, Exception):
            job.answer.set_exception(outcome)
        else:
            job.answer.set_result(outcome)
