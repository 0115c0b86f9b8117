"""wrk, the load generator: so many connections, each sending its next request when it has its answer."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.serving_requests import Request
from training.errors import UserError

ANSWER_SECONDS = 10  # after which a request counts as unanswered

# What wrk does with a request (its own `wrk` table), and what it says at the end. Percentiles are in microseconds.
_SCRIPT = """
wrk.method = "POST"
wrk.body = "%(body)s"
wrk.headers["Content-Type"] = "%(content_type)s"

setup = function(thread) asking = thread end

done = function(summary, latency, requests)
  local errors, statuses = summary.errors, {}
  for name, count in pairs(asking:get("statuses") or {}) do
    table.insert(statuses, string.format('"%%s": %%d', name, count))
  end
  io.write(string.format(
    '\\n{"answers": %%d, "microseconds": %%d, "p50": %%d, "p99": %%d, "refused": %%d, "unanswered": %%d, ' ..
    '"statuses": {%%s}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, table.concat(statuses, ", ")))
end
"""
# Before a request a connection waits; `delay` is in milliseconds.
_PAUSES = """
delay = function() return math.random(0, %d) end
"""
# Costs wrk time for every answer.
_STATUSES = """
statuses = {}

response = function(status, headers)
  local name, retry = tostring(status), false
  if status == 503 then
    for header in pairs(headers) do retry = retry or header:lower() == "retry-after" end
    if not retry then name = "503 without Retry-After" end
  end
  statuses[name] = (statuses[name] or 0) + 1
end
"""


@dataclass(frozen=True)
class Load:
    """What came of it; times in milliseconds."""

    seconds: float
    answers: int
    """With any status."""
    refused: int
    """Those with a status of 400 or more."""
    unanswered: int
    p50: float
    p99: float
    statuses: dict[str, int]
    """Answers by status; nothing unless it was asked for."""

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return (self.answers - self.refused) / self.seconds


def check_installed() -> None:
    """Raises UserError where there is no wrk."""
    if shutil.which("wrk") is None:
        raise UserError("wrk, the load generator, is not installed; get it with: apt-get install wrk")


def ask(port: int, request: Request, connections: int, seconds: int) -> Load:
    """Load 127.0.0.1. Raises UserError where wrk fails."""
    return _run(port, request.path, _script(request), connections, seconds)


def ask_and_pause(port: int, request: Request, connections: int, seconds: int, pause_ms: int) -> Load:
    """Load 127.0.0.1; between an answer and the next request a connection waits `pause_ms` on average.

    Answers are counted by status. Raises UserError where wrk fails.
    """
    script = _script(request) + _PAUSES % (2 * pause_ms) + _STATUSES
    return _run(port, request.path, script, connections, seconds)


def _run(port: int, path: str, script: str, connections: int, seconds: int) -> Load:
    with TemporaryDirectory(prefix="serving-") as folder:
        file = Path(folder) / "request.lua"
        file.write_text(script)
        flags = ["-t1", f"-c{connections}", f"-d{seconds}", f"--timeout={ANSWER_SECONDS}", "-s", str(file)]
        command = ["wrk", *flags, f"http://127.0.0.1:{port}{path}"]
        done = subprocess.run(command, capture_output=True, text=True)
    last = (done.stdout.strip() or "nothing").splitlines()[-1]
    if done.returncode or not last.startswith("{"):
        raise UserError(f"wrk failed: {(done.stderr.strip() or last).splitlines()[-1]}")
    return _load(json.loads(last))


def _script(request: Request) -> str:
    escaped = "".join(f"\\{byte:03d}" for byte in request.body)
    return _SCRIPT % {"body": escaped, "content_type": request.content_type}


def _load(said: dict[str, Any]) -> Load:
    return Load(
        seconds=said["microseconds"] / 1e6,
        answers=said["answers"],
        refused=said["refused"],
        unanswered=said["unanswered"],
        p50=said["p50"] / 1e3,
        p99=said["p99"] / 1e3,
        statuses=said["statuses"],
    )
