"""Requests -> batches -> answers.

One thread runs the network, on whatever has queued meanwhile. No timer holds a lone request back for company that may
not come, and under load batches grow by themselves. Small pictures are decoded on that thread too, where a hop to
another would cost more than the decoding; large ones on threads of their own, where they hold up nobody else's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serving.batch_metrics import BatchMetrics
from serving.classifier import Classifier, InferenceFailed
from serving.picture import LargePicture, decode_picture
from serving.predictions import Prediction
from serving.upload import extract_picture

logger = logging.getLogger(__name__)

MAX_BATCH = 32  # pictures; beyond it a CPU gains nothing, and everyone in the batch waits for it
# What is beyond either is decoded apart: a millisecond of the inference thread's time, about.
SMALL_BYTES = 65_536
SMALL_PIXELS = 65_536
STUCK_SECONDS = 60.0  # no batch takes that long, and no model's first either, since it has been warmed up


class QueueFull(Exception):
    """As many pictures wait as may; the text is one sentence."""


class InferenceStuck(Exception):
    """Pictures are not being answered; the text is one sentence."""


@dataclass(slots=True, eq=False)
class _Job:
    classifier: Classifier
    body: bytes
    content_type: str | None
    answer: asyncio.Future[Prediction]
    queued: float
    picture: NDArray[np.uint8] | None = None
    """Where it has been decoded apart."""


_Outcome = tuple[_Job, Prediction | Exception]


class Batcher:
    """Used by one event loop; entered and left like a context manager."""

    def __init__(self, metrics: BatchMetrics, max_queue: int, max_pixels: int, decoding_threads: int) -> None:
        """`max_queue`: pictures that may wait or be computed at once."""
        self._metrics, self._max_queue, self._max_pixels = metrics, max_queue, max_pixels
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._left_over: _Job | None = None
        self._unanswered = 0
        self._busy_since: float | None = None
        self._decoders = ThreadPoolExecutor(decoding_threads, thread_name_prefix="decoding")
        self._thread = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._decoders.shutdown(cancel_futures=True)
        self._jobs.put(None)
        self._thread.join()

    def check_alive(self) -> None:
        """Raises InferenceStuck where pictures are not answered: the thread is dead, or its batch takes too long."""
        since = self._busy_since
        if not self._thread.is_alive():
            raise InferenceStuck("The inference thread is dead; the next picture starts it again.")
        if since is not None and time.monotonic() - since > STUCK_SECONDS:
            raise InferenceStuck(f"A batch has been running for over {STUCK_SECONDS:.0f} seconds.")

    async def classify(self, classifier: Classifier, body: bytes, content_type: str | None) -> Prediction:
        """Answers for the picture in a request's body.

        Raises QueueFull at once, and whatever extract_picture, decode_picture and Classifier.classify raise.
        """
        self.check_room(1)
        if not self._thread.is_alive():
            logger.error("The inference thread has died; it is started again.")
            self._thread = self._start()
        job = _Job(classifier, body, content_type, asyncio.get_running_loop().create_future(), time.monotonic())
        self._unanswered += 1
        self._metrics.queued.set(self._unanswered)
        if len(body) > SMALL_BYTES:
            self._decoders.submit(self._decode_apart, job)
        else:
            self._jobs.put(job)
        try:
            return await job.answer
        finally:
            self._unanswered -= 1
            self._metrics.queued.set(self._unanswered)

    def check_room(self, pictures: int) -> None:
        """Raises QueueFull where so many more would be too many."""
        if self._unanswered + pictures > self._max_queue:
            self._metrics.refused.inc()
            raise QueueFull(f"{self._unanswered} pictures are waiting already, of {self._max_queue}; try again later.")

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="inference", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        while jobs := self._take():
            self._busy_since = time.monotonic()
            try:
                self._deliver(self._answers(jobs))
            except BaseException as error:
                logger.exception("A batch of %d failed.", len(jobs))
                failed = InferenceFailed("The batch of this picture could not be run.")
                self._deliver([(job, failed) for job in jobs])
                if not isinstance(error, Exception):
                    raise
            finally:
                self._busy_since = None

    def _take(self) -> list[_Job]:
        """Waits for a job, and takes all that has queued for the same classifier; nothing at the end."""
        first = self._left_over or self._jobs.get()
        self._left_over = None
        if first is None:
            return []
        jobs = [first]
        while len(jobs) < MAX_BATCH:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            if job.classifier is not first.classifier:
                self._left_over = job
                break
            jobs.append(job)
        return jobs

    def _answers(self, jobs: Sequence[_Job]) -> list[_Outcome]:
        """Decodes and runs; the outcome of a picture is its own, whatever the others of its batch are."""
        began = time.monotonic()
        outcomes: list[_Outcome] = []
        ready: list[tuple[_Job, NDArray[np.uint8]]] = []
        for job in jobs:
            if job.answer.cancelled():
                outcomes.append((job, InferenceFailed("Nobody waits for this answer any more.")))
                continue
            try:
                picture = self._decode(job, SMALL_PIXELS) if job.picture is None else job.picture
            except LargePicture:
                self._decoders.submit(self._decode_apart, job)
                continue
            except Exception as error:
                outcomes.append((job, error))
                continue
            self._metrics.wait.observe(began - job.queued)
            ready.append((job, picture))
        if ready:
            self._metrics.size.observe(len(ready))
            answers = ready[0][0].classifier.classify(np.stack([picture for _, picture in ready]))
            outcomes += [(job, answer) for (job, _), answer in zip(ready, answers, strict=True)]
        return outcomes

    def _decode(self, job: _Job, most_pixels: int | None = None) -> NDArray[np.uint8]:
        data = extract_picture(job.body, job.content_type)
        return decode_picture(data, job.classifier.picture_size, self._max_pixels, most_pixels)

    def _decode_apart(self, job: _Job) -> None:
        """On a thread for large pictures."""
        try:
            job.picture = self._decode(job)
        except Exception as error:
            self._deliver([(job, error)])
        else:
            self._jobs.put(job)

    def _deliver(self, outcomes: Sequence[_Outcome]) -> None:
        """From any thread; the event loop is woken once for all of them."""
        if outcomes:
            outcomes[0][0].answer.get_loop().call_soon_threadsafe(self._set, outcomes)

    @staticmethod
    def _set(outcomes: Sequence[_Outcome]) -> None:
        for job, outcome in outcomes:
            if job.answer.done():  # cancelled
                continue
            if isinstance(outcome, Exception):
                job.answer.set_exception(outcome)
            else:
                job.answer.set_result(outcome)
