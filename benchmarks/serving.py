"""Answers a second and their latency, beside the server that one writes first.

Aimed at: twice the answers of plain FastAPI from one process, with half of its p99; RESULTS.md says how far that is.
n: 3 rounds, in which the servers, each a process of its own that runs all the time, are asked in turns, 4 s each, by
wrk on the same machine: a 32x32 PNG a request, over 1, 16 and 64 connections.

    python -m benchmarks.serving

from the repository's root prints a Markdown table. It needs wrk (Debian's package of that name).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from benchmarks import machine
from benchmarks.flags import positive, run
from benchmarks.spread import spread
from training.errors import UserError

MODELS = Path("models")
CONNECTIONS = (1, 16, 64)
BOUNDARY = "----boundary"
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}  # in milliseconds


@dataclass
class Asked:
    """A way to ask a server, and what it gave."""

    name: str
    port: int
    is_form: bool
    rates: dict[int, list[float]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})
    slowest: dict[int, list[float]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser("python -m benchmarks.serving", description=__doc__.split("\n")[0])
    add = described.add_argument
    add("--rounds", type=positive, default=3, help="how often each is asked, in turns (default: %(default)s)")
    add("--seconds", type=positive, default=4, help="how long (default: %(default)s)")
    return described


def measure(args: argparse.Namespace) -> None:
    if shutil.which("wrk") is None:
        raise UserError("wrk, the load generator, is not installed; get it with: apt-get install wrk")
    described = machine.describe()
    with TemporaryDirectory(prefix="serving-") as folder, _servers() as asked:
        for number in range(args.rounds):
            for connections in CONNECTIONS:
                for each in asked:
                    rate, slowest = _ask(each, connections, args.seconds, Path(folder))
                    each.rates[connections].append(rate)
                    each.slowest[connections].append(slowest)
                    told = f"{each.name}, {connections} connections: {rate:,.0f}/s, p99 {slowest:.1f} ms"
                    print(f"round {number + 1}, {told}", file=sys.stderr)
    print(f"\n{table(asked)}\n\n{described}\n- rounds: {args.rounds} of {args.seconds} s")


def table(asked: list[Asked]) -> str:
    """Markdown: answers a second over 1, 16 and 64 connections, and the 99th percentile of the latency at 16."""
    head = "".join(f" answers/s at {count} |" for count in CONNECTIONS)
    rows = [f"| server |{head} p99 at 16, ms |", "|---|" + "---|" * (len(CONNECTIONS) + 1)]
    for each in asked:
        rates = "".join(f" {spread(each.rates[count], ',.0f')} |" for count in CONNECTIONS)
        rows.append(f"| {each.name} |{rates} {spread(each.slowest[16], '.1f')} |")
    return "\n".join(rows)


@contextlib.contextmanager
def _servers() -> Iterator[list[Asked]]:
    """Both servers, ready, with the version that ships."""
    ours, plain = _free_port(), _free_port()
    model = MODELS / "cifar10" / "1" / "model.onnx"
    commands = [
        ["serving", "--models-dir", MODELS, "--port", ours, "--log-level", "warning"],
        ["benchmarks.peers.plain_fastapi", model, plain],
    ]
    started = [subprocess.Popen([sys.executable, "-m", *map(str, command)]) for command in commands]
    try:
        _wait_for(f"http://127.0.0.1:{ours}/readyz")
        _wait_for(f"http://127.0.0.1:{plain}/docs")
        yield [
            Asked("ours, raw body", ours, False),
            Asked("ours, form", ours, True),
            Asked("plain FastAPI", plain, True),
        ]
    finally:
        for process in started:
            process.terminate()
            process.wait()


def _ask(asked: Asked, connections: int, seconds: int, folder: Path) -> tuple[float, float]:
    """Answers a second, and the 99th percentile of their latency in ms."""
    script = folder / f"{'form' if asked.is_form else 'raw'}.lua"
    script.write_bytes(_script(asked.is_form))
    flags = ["-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", script]
    command = ["wrk", *map(str, flags), f"http://127.0.0.1:{asked.port}/predict"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise UserError(f"{asked.name} did not answer every request:\n{said}")
    rate, slowest = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"99%\s+([\d.]+)(us|ms|s)\b", said)
    if not rate or not slowest:
        raise UserError(f"wrk said something else than expected:\n{said}")
    return float(rate[1]), float(slowest[1]) * UNITS[slowest[2]]


def _script(is_form: bool) -> bytes:
    """wrk's, in Lua: one picture of noise in every request."""
    png = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(png, "PNG")
    kind, body = "image/png", png.getvalue()
    if is_form:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
        body = f"{head}Content-Type: image/png\r\n\r\n".encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
    escaped = "".join(f"\\{byte:03d}" for byte in body)
    return f'wrk.method = "POST"\nwrk.body = "{escaped}"\nwrk.headers["Content-Type"] = "{kind}"\n'.encode()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(f"{url} does not answer ({error}).") from error
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(run(measure, parser(), sys.argv[1:]))
