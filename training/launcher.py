"""`train --gpus N`: one process a GPU on this machine, started and watched by PyTorch's own launcher (torchrun)."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterable, Sequence

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from training.device import processors

SHUTDOWN_SECONDS = 120  # that the ranks have, after a signal, to finish an evaluation and save


def launch(ranks: int, arguments: Sequence[str]) -> int:
    """Runs `python -m training ARGUMENTS` in as many processes, to their end; returns the exit status of the run.

    Each process finds in its environment which one it is. Their output is this process's output. A signal is passed on.
    """
    # Each of them would start a thread for every core.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, processors() // ranks)))
    # The ranks say themselves, in one sentence, what went wrong; the launcher would add a page.
    logging.disable(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any free port
        max_restarts=0,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "training", *arguments)
    except ChildFailedError as failed:
        exitcode = _cause(failed.failures.values()).exitcode
        return exitcode if exitcode > 0 else 128 - exitcode
    except SignalException as stopped:
        return 128 + signal.Signals(stopped.sigval)
    return 0


def _cause(failures: Iterable[ProcessFailure]) -> ProcessFailure:
    """The first failure. Within its second (their clock has no more), a killed rank comes before those that lost it."""
    ended_by_launcher = -signal.SIGTERM

    def order(failure: ProcessFailure) -> tuple[int, bool]:
        killed = failure.exitcode < 0 and failure.exitcode != ended_by_launcher
        return failure.timestamp, not killed

    return min(failures, key=order)
