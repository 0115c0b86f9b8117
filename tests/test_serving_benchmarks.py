"""The benchmarks of the server: that they measure, and that only who answers rightly is measured."""

import contextlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.serving_asked import start
from benchmarks.serving_load import Load
from benchmarks.serving_peers import Server, servers, variables
from benchmarks.serving_process import ServerProcess, free_port, processes
from benchmarks.serving_requests import make_picture, raw
from benchmarks.serving_table import failures, latencies, rates
from tests.test_benchmarks import SPREAD, figures
from tests.training.processes import SECONDS
from training.errors import UserError

REPOSITORY = Path(__file__).parent.parent
WRONG_SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write({answer!r})

    do_POST = do_GET

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")


def run(module: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
        cwd=REPOSITORY,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def load(answers: int = 100, refused: int = 0, unanswered: int = 0) -> Load:
    return Load(1.0, answers, refused, unanswered, p50=1.0, p99=2.0, statuses={})


def states(family: Sequence[int]) -> set[str]:
    """What proc(5) says of those that are left of these processes: T is stopped, Z has ended."""
    found = set()
    for pid in family:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.add(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
    return found


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@needs_wrk
def test_ours_beside_plain_fastapi() -> None:
    quick = ["--only", "ours,fastapi", "--rounds", 1, "--seconds", 2, "--connections", 2]
    done = run("serving", *quick, "--ceiling")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if re.search(SPREAD, line)]
    names = ["ours, raw body", "ours, form", "plain FastAPI, raw body", "plain FastAPI, form"]
    assert [row.split(" | ")[0].strip("| ") for row in rows[:8]] == names * 2
    assert all(math.isfinite(figure) and figure > 0 for row in rows for figure in figures(row))
    assert figures(rows[0])[3:] == [1, 1, 1]
    for row in rows[4:8]:
        p50, p99 = figures(row)[::3]
        assert p50 <= p99
    assert len(rows) == 8 + 3 + 2  # the ceiling's
    assert re.search(r"^- fastapi: fastapi [\d.]+, .*onnxruntime-gpu [\d.]+", done.stdout, re.MULTILINE)


@needs_wrk
def test_overload() -> None:
    quick = ["--seconds", 2, "--peak-seconds", 2, "--connections", 64, "--max-queue", 8]
    done = run("serving_overload", *quick)
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^\| (.+) \| (.+) \|$", done.stdout, re.MULTILINE))
    assert re.fullmatch(r"200: [\d,]+, 503: [\d,]+", rows["answers by status"])
    assert rows["not answered within 10 s, or broken off"] == "0"
    assert re.match(r"[1-9]\d*, 0; ", rows["/healthz: asked, failed; greatest latency, ms"])


def test_what_is_no_overload_is_refused() -> None:
    for mistake in (["--times", 1], ["--connections", 512]):
        done = run("serving_overload", *mistake)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


@pytest.mark.parametrize("benchmark", ["serving", "serving_overload"])
def test_missing_wrk_is_a_sentence(tmp_path: Path, benchmark: str) -> None:
    done = run(benchmark, PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "wrk, the load generator, is not installed; get it with: apt-get install wrk\n"


@needs_wrk
def test_a_peer_that_is_not_installed_is_left_out() -> None:
    done = run("serving", "--only", "litserve", "--peer", "litserve=/nonexistent/python")
    assert done.returncode == 2
    assert re.search(r"litserve is not measured: .*pip install litserve==[\d.]+ .*--peer litserve=PYTHON", done.stderr)
    for mistake in ("other=python", "litserve", "ours=python"):
        done = run("serving", "--peer", mistake)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


def test_ratios_are_taken_within_a_round() -> None:
    loads = {
        "ours": {16: [load(200), load(100)]},
        "other": {16: [load(100), load(110, refused=10, unanswered=3)]},
    }
    ours, other = rates(loads, [16], "ours").splitlines()[2:]
    assert figures(ours) == [150, 100, 200, 1, 1, 1]
    assert figures(other) == [100, 100, 100, 1.5, 1, 2]
    assert figures(latencies(loads, [16]).splitlines()[3]) == [1, 1, 1, 2, 2, 2]
    (line,) = failures(loads)
    assert line.startswith("- other: 10 ")
    assert " 3 " in line


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"label": "no class", "probabilities": {"a": 0.1}}, "where onnxruntime says"),
        ({"detail": "no"}, "does not answer as expected"),
    ],
)
def test_a_server_that_answers_wrongly_is_not_measured(tmp_path: Path, answer: object, reason: str) -> None:
    program = tmp_path / "wrong.py"
    program.write_text(WRONG_SERVER.format(answer=json.dumps(answer).encode()))
    server = Server("wrong", (str(program), "{port}"), "/", {"wrong": raw("/predict", make_picture())})
    with ExitStack() as until_the_end, pytest.raises(UserError, match=reason):
        start(server, sys.executable, {}, tmp_path / "log", until_the_end)


def test_a_server_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    server = Server("broken", ("-c", "raise SystemExit('no such port {port}')"), "/", {})
    with ExitStack() as until_the_end, pytest.raises(UserError, match="has ended: no such port"):
        start(server, sys.executable, {}, tmp_path / "log", until_the_end)


def test_a_server_is_halted_and_ended_with_all_its_processes(tmp_path: Path) -> None:
    (server,) = servers("fastapi", 2, make_picture())
    port = free_port()
    command = [sys.executable, *(part.format(port=port) for part in server.command)]
    with ServerProcess(command, port, server.ready, variables(2), tmp_path / "log") as process:
        process.wait_until_ready()
        family = processes(process.pid)
        assert len(family) >= 3
        process.halt()
        wait_until(lambda: states(family) == {"T"})
        process.resume()
        wait_until(lambda: "T" not in states(family))
        assert process.resident_bytes() > 3 * 2**20
    wait_until(lambda: states(family) <= {"Z"})
