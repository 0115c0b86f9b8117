"""Commands of `python -m training` as processes of their own, with real arguments, signals, output and exit status.

Importing PyTorch takes a process seconds, and these tests need dozens. So most are forked, by multiprocessing's fork
server, from one process that has imported it and done nothing else. Those that begin as an interpreter, as a user's
do, are started with `interpreter=True`.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 600  # for anything at all, on a machine that is busy with something else

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["training.commands", "training.export", "training.report.run_report"])


@dataclass(frozen=True)
class Finished:
    """What a command left on the terminal, and its exit status: minus the signal's number where one ended it."""

    status: int
    output: str
    errors: str

    def refusal(self) -> str:
        """The one sentence in which something that a person can mend is told."""
        assert self.status == 2, (self.status, self.output, self.errors)
        lines = self.errors.splitlines()
        assert len(lines) == 1, self.errors
        return lines[0]


class Command:
    """A running command."""

    def __init__(self, arguments: Iterable[object], folder: Path, interpreter: bool, file_bytes: int | None) -> None:
        """`folder` is for its output; no file that it writes may be larger than `file_bytes`."""
        command = [str(argument) for argument in arguments]
        self._output, self._errors = folder / "stdout", folder / "stderr"
        self._process: subprocess.Popen[bytes] | multiprocessing.context.ForkServerProcess
        if interpreter:
            with self._output.open("wb") as output, self._errors.open("wb") as errors:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "training", *command],
                    cwd=REPOSITORY,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                )
        else:
            self._process = _forks.Process(target=_main, args=(command, self._output, self._errors, file_bytes))
            self._process.start()

    @property
    def output(self) -> str:
        return self._output.read_text() if self._output.exists() else ""

    @property
    def errors(self) -> str:
        return self._errors.read_text() if self._errors.exists() else ""

    def wait_for(self, reached: Callable[[], object]) -> None:
        """Wait until something holds; fails with the command's output when it does not, or the command ends first."""
        deadline = time.monotonic() + SECONDS
        while not reached():
            assert time.monotonic() < deadline, self.output + self.errors
            assert self._status() is None, self.output + self.errors
            time.sleep(0.005)

    def wait_for_output(self, pattern: str) -> None:
        self.wait_for(lambda: re.search(pattern, self.output))

    def send(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def finish(self, seconds: float = SECONDS) -> Finished:
        deadline = time.monotonic() + seconds
        while (status := self._status()) is None:
            assert time.monotonic() < deadline, f"still running after {seconds} s: {self.output}{self.errors}"
            time.sleep(0.01)
        return Finished(status, self.output, self.errors)

    def kill(self) -> Finished:
        """SIGKILL; without effect on a command that has ended."""
        self._process.kill()
        return self.finish()

    def _status(self) -> int | None:
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll()
        return self._process.exitcode


StartCommand = Callable[..., Command]
RunCommand = Callable[..., Finished]


def fork(function: Callable[..., None], *arguments: object) -> multiprocessing.context.ForkServerProcess:
    """A process that runs a function of a module."""
    process = _forks.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


def _main(command: list[str], output: Path, errors: Path, file_bytes: int | None) -> None:
    import torch

    from training.__main__ import main

    for path, stream, descriptor in ((output, "stdout", 1), (errors, "stderr", 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
        setattr(sys, stream, io.TextIOWrapper(os.fdopen(descriptor, "wb", closefd=False)))
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    os.chdir(REPOSITORY)
    torch.set_num_threads(1)
    sys.argv = ["training", *command]
    sys.exit(main(command))
