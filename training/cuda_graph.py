"""The training step as one CUDA graph: recorded once, then replayed, so that the host starts one thing a step, not 100.

Source: NVIDIA's and PyTorch's "CUDA Graphs" notes (whole-network capture; usage with DistributedDataParallel).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from training.loader import Plan
from training.say import Say

Result = TypeVar("Result")

UPDATES_BEFORE_CAPTURE = 11  # as many as DistributedDataParallel needs; `TrainingStep.warm_up` does and undoes them


class CapturedUpdate(Generic[Result]):
    """Does what `update` does. The first updates run as written, then one is captured and replayed for all that follow.

    All plans hold equally many pictures. `update` changes nothing on the host and never waits for the device; it runs
    on the current stream, which must not be the default one. Where it cannot be captured, `say` is told why, and all
    updates run as written.
    """

    def __init__(
        self,
        update: Callable[[Plan], Result],
        say: Say,
        name: str = "The step",
        updates_before_capture: int = UPDATES_BEFORE_CAPTURE,
    ) -> None:
        """The tensors in what `update` returns are overwritten by each replay. `name` begins what is said."""
        self._update = update
        self._say = say
        self._name = name
        self._updates_until_capture = updates_before_capture
        self._inputs: Plan | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: Result | None = None

    def __call__(self, plan: Plan) -> Result:
        if self._updates_until_capture == 0:
            self._capture(plan)
        self._updates_until_capture -= 1
        if self._graph is None or self._inputs is None or self._result is None:
            return self._update(plan)
        torch._foreach_copy_(self._inputs.tensors(), plan.tensors())
        self._graph.replay()
        return self._result

    def close(self) -> None:
        """Lets go of the graph; further updates run as written."""
        if self._graph is not None:
            self._graph.reset()
        self._inputs = self._graph = self._result = None
        self._updates_until_capture = -1

    def _capture(self, plan: Plan) -> None:
        began = time.perf_counter()
        inputs, graph = plan.clone(), torch.cuda.CUDAGraph()
        try:
            # thread_local: NCCL's watchdog thread asks the device for news meanwhile, which is harmless.
            with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
                result = self._update(inputs)
        except RuntimeError as error:
            cause = error.__context__ or error  # what broke the capture, before its end failed too
            if isinstance(cause, torch.OutOfMemoryError) or not isinstance(cause, Exception):
                raise cause from None
            reason = str(cause).partition("\n")[0]
            self._say(f"{self._name} goes on without a CUDA graph, and slower: it could not be captured ({reason}).")
            return
        self._inputs, self._graph, self._result = inputs, graph, result
        self._say(f"{self._name} is captured as a CUDA graph, which took {time.perf_counter() - began:.1f} s.")
