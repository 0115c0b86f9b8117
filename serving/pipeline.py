"""A request's body -> its prediction: let in or refused, decoded, batched."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.batch_metrics import BatchMetrics
from serving.batcher import Batcher
from serving.cheap_picture import MAX_PIXELS, is_cheap
from serving.classifier import Classifier, InferenceFailed, Outputs, joined
from serving.current_request import note_stage
from serving.decoders import Decoders
from serving.picture import decode_picture, decode_small
from serving.predictions import Prediction
from serving.upload import extract_picture

# So many pictures one after the other, with nobody else's beside them, and the next is taken to be alone too: the event
# loop computes it itself, by all processors, which saves it two hops between threads.
LONE_PICTURES = 2
MAX_PARSED_HERE = 65_536  # bytes of a form, on the event loop: a fraction of a millisecond

T = TypeVar("T")


class QueueFull(Exception):
    """As many pictures wait as may; the text is one sentence."""


class Pipeline:
    """Used by one event loop; entered and left like a context manager."""

    def __init__(
        self, metrics: BatchMetrics, max_queue: int, max_wait: float, max_pixels: int, decoding_threads: int
    ) -> None:
        """`max_queue`: pictures that may be decoded, wait or be computed at once. `max_wait`: seconds that one may have
        to wait for others."""
        self._metrics, self._max_pixels = metrics, max_pixels
        self._max_queue, self._max_wait = max_queue, max_wait
        self._batcher = Batcher(metrics)
        self._decoders = Decoders(decoding_threads)
        # Whole batches need no company. On a thread of their own, they and single pictures take turns.
        self._tensors = ThreadPoolExecutor(1, thread_name_prefix="tensors")
        self._closing = threading.Event()
        self._unanswered = 0
        self._unanswered_pictures: dict[Classifier, int] = {}
        self._lone_pictures = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._decoders.close()
        self._tensors.shutdown(cancel_futures=True)
        self._batcher.close()

    def check_alive(self) -> None:
        """Raises InferenceStuck where pictures are not answered."""
        self._batcher.check_alive()

    def check_room(self, classifier: Classifier, pictures: int = 1) -> None:
        """Raises QueueFull where so many more would be too many: best asked before an upload is read."""
        if self._unanswered + pictures > self._max_queue:
            self._metrics.refused.inc()
            raise QueueFull(f"{self._unanswered} pictures are waiting already, of {self._max_queue}; try again later.")
        self._check_wait(self._wait_for(classifier))

    def check_decoders(self) -> None:
        """Raises QueueFull where a picture, large or one of many, would wait too long to be decoded."""
        self._check_wait(self._decoders.wait)

    @contextmanager
    def admitted(self, classifier: Classifier, pictures: int = 1) -> Iterator[None]:
        """Around the work of a classifier for so many pictures; raises QueueFull where they would be too many."""
        self.check_room(classifier, pictures)
        self._lone_pictures = self._lone_pictures + 1 if self._unanswered == 0 else 0
        self._count(classifier, pictures)
        try:
            yield
        finally:
            self._count(classifier, -pictures)

    def apart(self, function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """On a thread for what would keep the event loop from everybody else's requests."""
        return self._decoders.apart(function, *arguments)

    async def classify_upload(self, classifier: Classifier, body: bytes, content_type: str) -> Prediction:
        """Answers for the picture in a request's body.

        Raises QueueFull at once, and whatever extract_picture, decode_picture and Classifier.classify raise.
        """
        with self.admitted(classifier):
            if len(body) > MAX_PARSED_HERE:
                data = await self.apart(extract_picture, body, content_type)
            else:
                data = extract_picture(body, content_type)
            del body  # a form's is as large again as its picture, which may wait for long
            began = time.monotonic()
            picture = None
            if is_cheap(data):
                # A hop to another thread would cost more than decoding does.
                picture = decode_small(data, classifier.picture_size, self._max_pixels, MAX_PIXELS)
            if picture is None:
                self.check_decoders()
                return await self.classify(classifier, data)
            note_stage("decode", began, time.monotonic())
            if classifier.is_quick and await self._is_alone():
                return self._batcher.classify_at_once(classifier, picture)
            return await self._batcher.classify(classifier, picture)

    async def classify(self, classifier: Classifier, data: bytes) -> Prediction:
        """Answers for an encoded picture that has been admitted, large or one of many."""
        began = time.monotonic()
        picture = await self._decoders.decode(decode_picture, data, classifier.picture_size, self._max_pixels)
        note_stage("decode", began, time.monotonic())
        return await self._batcher.classify(classifier, picture)

    async def run(self, classifier: Classifier, images: NDArray[np.uint8]) -> Outputs:
        """Run the network on uint8 [N, height, width, 3] that somebody else put together; see ``Classifier.run``.

        Raises QueueFull at once, and InferenceFailed.
        """
        with self.admitted(classifier, len(images)):
            queued, unwanted = time.monotonic(), threading.Event()
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._tensors, self._run, classifier, images, queued, unwanted
                )
            finally:
                unwanted.set()

    def _run(
        self, classifier: Classifier, images: NDArray[np.uint8], queued: float, unwanted: threading.Event
    ) -> Outputs:
        self._metrics.wait.observe(time.monotonic() - queued)
        runs, parts = classifier.runs(images), list[Outputs]()
        while not (self._closing.is_set() or unwanted.is_set()):
            with self._batcher.watched_run(classifier):
                part = next(runs, None)
            if part is None:
                break
            self._metrics.size.observe(len(part[1]))
            parts.append(part)
        if sum(len(labels) for _, labels in parts) < len(images):
            raise InferenceFailed("The server stopped before all pictures were computed.")
        return joined(parts)

    async def _is_alone(self) -> bool:
        """Whether no other picture is here, nor was any beside the last ones, nor is one about to be."""
        if self._lone_pictures <= LONE_PICTURES:
            return False
        for _ in range(2):  # what sockets hold becomes a request's task, and this begins
            await asyncio.sleep(0)
        return self._unanswered == 1

    def _check_wait(self, seconds: float) -> None:
        if seconds > self._max_wait:
            self._metrics.refused.inc()
            raise QueueFull(
                f"The pictures that wait already take {seconds:.0f} seconds, of {self._max_wait:g}; try again later."
            )

    def _wait_for(self, classifier: Classifier) -> float:
        """How many seconds the network will take for what comes before another picture, as classifiers take turns."""
        own = self._unanswered_pictures.get(classifier, 0) * classifier.picture_seconds
        everything = sum(count * each.picture_seconds for each, count in self._unanswered_pictures.items())
        return min(own * len(self._unanswered_pictures), everything)

    def _count(self, classifier: Classifier, pictures: int) -> None:
        self._unanswered += pictures
        of_this = self._unanswered_pictures.get(classifier, 0) + pictures
        if of_this:
            self._unanswered_pictures[classifier] = of_this
        else:
            del self._unanswered_pictures[classifier]
        self._metrics.queued.set(self._unanswered)
