"""What becomes of the server when four times as many pictures come as it can answer, for a minute.

Aimed at: it goes on answering within 10 % of its peak, every other request is refused at once, its memory does not
grow, and a probe is answered as ever. The peak is the better of 16 and 64 connections that send when they have their
answer. Then many more connections each pause a little between an answer, whatever it says, and the next request, so
that four times the peak are sent. wrk asks, on the same machine; a thread asks /healthz ten times a second, on a new
connection each time.

    python -m benchmarks.serving_overload

from the repository's root prints a Markdown table. It needs wrk (Debian's package of that name).
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import machine
from benchmarks.flags import positive, run
from benchmarks.serving_load import ANSWER_SECONDS, Load, ask, ask_and_pause, check_installed
from benchmarks.serving_peers import OURS, models_in, servers
from benchmarks.serving_process import ServerProcess, free_port
from benchmarks.serving_requests import Request, make_picture, raw
from training.errors import UserError

PEAK_CONNECTIONS = (16, 64)
WARM_UP_SECONDS = 1
PROBE_SECONDS = 0.1
MEBIBYTE = 2**20


@dataclass
class Watch:
    """Probes and memory while a load lasts."""

    process: ServerProcess
    milliseconds: list[float] = field(default_factory=list)
    failed: int = 0
    resident: list[int] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._ended.wait(PROBE_SECONDS):
            began = time.perf_counter()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.process.port}/healthz", timeout=ANSWER_SECONDS).close()
            except OSError:
                self.failed += 1
            self.milliseconds.append(1000 * (time.perf_counter() - began))
            self.resident.append(self.process.resident_bytes())

    def end(self) -> None:
        self._ended.set()


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser("python -m benchmarks.serving_overload", description=__doc__.split("\n")[0])
    add = described.add_argument
    add("--seconds", type=positive, default=60, help="how long (default: %(default)s)")
    add("--peak-seconds", type=positive, default=5, help="how long the peak is looked for (default: %(default)s)")
    add("--times", type=positive, default=4, help="how many times the peak is sent (default: %(default)s)")
    add("--connections", type=positive, default=1024, help="over which it is sent (default: %(default)s)")
    add("--max-queue", type=positive, default=512, help="the server's setting (default: %(default)s)")
    add("--processes", type=positive, default=1, help="of the server (default: %(default)s)")
    return described


def measure(args: argparse.Namespace) -> None:
    if args.times < 2 or args.connections <= args.max_queue:
        raise UserError("Nothing is overloaded with --times below 2, or no more --connections than --max-queue.")
    check_installed()
    described = machine.describe()
    (server,) = servers(OURS, args.processes, make_picture())
    port = free_port()
    request = raw("/predict", make_picture())
    with TemporaryDirectory(prefix="serving-") as name, ExitStack() as until_the_end:
        folder = Path(name)
        command = [part.format(port=port, models=models_in(folder)) for part in server.command]
        command = [sys.executable, *command, f"--max-queue={args.max_queue}"]
        process = until_the_end.enter_context(ServerProcess(command, port, server.ready, {}, folder / "log"))
        process.wait_until_ready()
        peak = _peak(port, request, args.peak_seconds)
        pause = _pause_ms(args.connections, args.max_queue, (args.times - 1) * peak)
        watch, load = _watched(process, request, args, pause)
        afterwards = _peak(port, request, args.peak_seconds)
    print(f"\n{_table(peak, load, watch, afterwards)}\n\n{described}")
    print(f"- {args.seconds} s over {args.connections} connections that pause {pause} ms; --max-queue {args.max_queue}")


def _peak(port: int, request: Request, seconds: int) -> float:
    """Good answers a second."""
    ask(port, request, max(PEAK_CONNECTIONS), WARM_UP_SECONDS)
    if rate := max(ask(port, request, connections, seconds).rate for connections in PEAK_CONNECTIONS):
        return rate
    raise UserError(f"The server gave no good answer in {seconds} s; give more --peak-seconds.")


def _pause_ms(connections: int, max_queue: int, surplus: float) -> int:
    """What makes the connections that are not in the queue send `surplus` requests a second."""
    return max(1, round(1000 * (connections - max_queue) / surplus))


def _watched(process: ServerProcess, request: Request, args: argparse.Namespace, pause: int) -> tuple[Watch, Load]:
    watch = Watch(process)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        load = ask_and_pause(process.port, request, args.connections, args.seconds, pause)
    finally:
        watch.end()
        thread.join()
    return watch, load


def _table(peak: float, load: Load, watch: Watch, afterwards: float) -> str:
    sent = load.answers / load.seconds
    begin, end, most = (value / MEBIBYTE for value in (watch.resident[0], watch.resident[-1], max(watch.resident)))
    rows = {
        "pictures/s answered, of the peak": f"{load.rate:,.0f} of {peak:,.0f}, {load.rate / peak:.0%}",
        "requests/s, of the peak": f"{sent:,.0f}, {sent / peak:.1f} times",
        "answers by status": ", ".join(f"{status}: {count:,}" for status, count in sorted(load.statuses.items())),
        f"not answered within {ANSWER_SECONDS} s, or broken off": f"{load.unanswered:,}",
        "latency of all answers, p50 and p99, ms": f"{load.p50:.1f}, {load.p99:.1f}",
        "/healthz: asked, failed; greatest latency, ms": (
            f"{len(watch.milliseconds):,}, {watch.failed:,}; {max(watch.milliseconds):.1f}"
        ),
        "resident memory at the beginning, at the end, greatest, MiB": f"{begin:.0f}, {end:.0f}, {most:.0f}",
        "pictures/s afterwards, of the peak": f"{afterwards:,.0f}, {afterwards / peak:.0%}",
    }
    return "\n".join(["| overload | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


if __name__ == "__main__":
    sys.exit(run(measure, parser(), sys.argv[1:]))
