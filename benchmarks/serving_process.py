"""A server with the processes that it starts: begun, halted while others are asked, ended."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.request
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from training.errors import UserError

START_SECONDS = 90
STOP_SECONDS = 15


class ServerProcess:
    """Used as a context manager: begins at once, ends with all its processes.

    `ready` is the path that answers 200 once pictures are answered.
    """

    def __init__(self, command: Sequence[str], port: int, ready: str, variables: Mapping[str, str], log: Path) -> None:
        self.port = port
        self._ready, self._log = ready, log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                command, env=os.environ | variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume()
        family = {each: _began(each) for each in processes(self._process.pid)}
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        for each, began in family.items():
            if _began(each) == began:  # else the number is another's by now
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        self._process.wait()

    def wait_until_ready(self) -> None:
        """Raises UserError with the last line of its log where it ends, or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                state = "does not answer" if self._process.poll() is None else "has ended"
                lines = self._log.read_text(errors="replace").strip().splitlines()
                raise UserError(f"the server {state}: {lines[-1] if lines else 'it said nothing'}")
            time.sleep(0.1)

    def halt(self) -> None:
        """Take the processor from it: some servers look for work all the time."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def resident_bytes(self) -> int:
        """Of all its processes, pages that they share counted in each."""
        pages = 0
        for each in processes(self._process.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self._ready}", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _signal(self, sent: signal.Signals) -> None:
        for each in processes(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, sent)


def processes(pid: int) -> list[int]:
    """This process and all that came from it, oldest first."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children[int(_status(int(folder.name))[1])].append(int(folder.name))
    family = [pid]
    for each in family:
        family += sorted(children[each])
    return family


def _status(pid: int) -> list[str]:
    """State, parent and so on: /proc/pid/stat of proc(5), from its third field on; the second may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _began(pid: int) -> str | None:
    """When the process started, in clock ticks; None where it has ended."""
    try:
        return _status(pid)[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def free_port() -> int:
    """Not one of those that the system gives to whoever asks for any, so that it stays free until it is used."""
    first_given, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    while True:
        port = secrets.choice(range(10_000, max(first_given, 20_000)))
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port
