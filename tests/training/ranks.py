"""Trainings of several ranks: under PyTorch's launchers, as users start them, and forked, where those add nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
import torch.distributed as dist

from tests.training.processes import REPOSITORY, SECONDS, Command, Finished, fork

RANKS_STEPS = 100  # of the runs that several tests look at
SAVING = ["--checkpoint-every", 20]  # all five of which are kept
TORCHRUN = ["torch.distributed.run", "--nproc-per-node=2"]


class Launcher(Command):
    """`python -m …` that starts ranks, as a shell starts it: the leader of a process group of its own."""

    def __init__(self, arguments: Iterable[object], folder: Path, environment: dict[str, str] | None = None) -> None:
        self._output, self._errors = folder / "stdout", folder / "stderr"
        self._process: subprocess.Popen[bytes]
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *map(str, arguments)],
                cwd=REPOSITORY,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def press_ctrl_c(self) -> None:
        """What a terminal does: SIGINT to the whole process group."""
        os.killpg(self._process.pid, signal.SIGINT)

    def ranks(self) -> dict[int, int]:
        """The ranks that run now, and their process ids."""
        found: dict[int, int] = {}
        for child in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
            try:
                environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            found |= {int(entry.removeprefix(b"RANK=")): int(child) for entry in environment if entry[:5] == b"RANK="}
        return found

    def kill_rank(self, rank: int) -> None:
        os.kill(self.ranks()[rank], signal.SIGKILL)

    def kill(self) -> Finished:
        """SIGKILL for the launcher and its ranks, as a machine dies; without effect on one that has ended."""
        if self._status() is None:
            self._process.send_signal(signal.SIGSTOP)  # lest it starts others meanwhile
            for process in self.ranks().values():
                os.kill(process, signal.SIGKILL)
        return super().kill()


StartLauncher = Callable[..., Launcher]


def run_ranks(size: int, command: Iterable[object], folder: Path) -> list[Finished]:
    """Runs a command of `python -m training` in as many forked ranks, without a launcher, to their end."""
    arguments = [str(argument) for argument in command]
    folders = [folder / f"rank{rank}" for rank in range(size)]
    for path in folders:
        path.mkdir(parents=True)
    statuses = in_ranks(size, _command, arguments, folders)
    return [
        Finished(status, (path / "stdout").read_text(), (path / "stderr").read_text())
        for status, path in zip(statuses, folders, strict=True)
    ]


def in_ranks(size: int, function: Callable[..., None], *arguments: object) -> list[int]:
    """Runs `function(rank, *arguments)` in as many forked processes, whose environment is that of torchrun's ranks.

    Returns their exit statuses.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    processes = [fork(_rank, rank, size, store.port, function, *arguments) for rank in range(size)]
    try:
        for process in processes:
            process.join(SECONDS)
        statuses = [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert None not in statuses, f"still running after {SECONDS} s: {statuses}"
    return [status for status in statuses if status is not None]


def _rank(rank: int, size: int, port: int, function: Callable[..., None], *arguments: object) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "forked",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is the test's; no rank is to serve it
    }
    torch.set_num_threads(1)
    function(rank, *arguments)


def _command(rank: int, arguments: list[str], folders: list[Path]) -> None:
    from training.__main__ import main

    os.chdir(REPOSITORY)
    sys.argv = ["training", *arguments]
    folder = folders[rank]
    with (
        (folder / "stdout").open("w") as output,
        (folder / "stderr").open("w") as errors,
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        status = main(arguments)
    sys.exit(status)
