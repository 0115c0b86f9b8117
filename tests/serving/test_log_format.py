"""Lines of text and of JSON, whoever writes them."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import RED
from tests.serving.running_server import REPOSITORY, StartServer
from tests.serving.test_request_log import TRACE, TRACEPARENT, exchange, lines_of


def test_json_is_an_object_a_line(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--log-format", "json")
    publish(models, 2, b"garbage")
    server.wait_for(lambda: "Refused" in server.log)
    answer = server.post(RED, traceparent=TRACEPARENT)
    request_id = answer.headers["x-request-id"]
    lines_of(server, request_id)
    assert exchange(server, b"no HTTP\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert server.get('/"\\?x=\u00e9').status_code == 404
    server.wait_for(lambda: "no request that HTTP" in server.log)
    assert server.stop() == 0

    records = [json.loads(line) for line in server.log.splitlines()]
    for record in records:
        assert {"time", "level", "logger", "message"} <= record.keys()
        assert record["process"] == server.process.pid
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
        assert timedelta() <= datetime.now(UTC) - datetime.fromisoformat(record["time"]) < timedelta(minutes=1)
    assert [r["time"] for r in records] == sorted(r["time"] for r in records)
    assert {(r["logger"], r["level"]) for r in records} >= {
        ("serving.access", "info"),
        ("serving.repository", "info"),
        ("serving.repository", "error"),
        ("serving.server", "info"),
        ("serving.http_protocol", "info"),
    }
    (access,) = [r for r in records if r.get("request_id") == request_id]
    assert access.pop("client").startswith("127.0.0.1:")
    assert 0 < access.pop("milliseconds") < 10_000
    assert (
        access.items()
        >= {
            "message": "POST /predict 200",
            "method": "POST",
            "path": "/predict",
            "status": 200,
            "bytes_in": len(RED),
            "bytes_out": len(answer.content),
            "trace_id": TRACE,
        }.items()
    )


PROGRAM = """
import logging, sys, threading, warnings
from serving.current_request import begin_request
from serving.log_format import configure_logging

configure_logging("info", sys.argv[1])
begin_request([(b"x-request-id", b"the-request")])
logging.getLogger("some.library").warning("a\\nforged line \\x1b[31m %s", "\\u202e")
logging.info("Refused.", extra={"request_id": "another"})
warnings.warn("old")
try:
    raise ValueError("first\\n2026-01-01 00:00:00 INFO    forged")
except ValueError:
    logging.exception("It failed.")
thread = threading.Thread(target=lambda: 1 / 0, name="worker")
thread.start()
thread.join()
raise KeyError("the end")
"""


def last_words(log_format: str) -> list[str]:
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, log_format], cwd=REPOSITORY, capture_output=True, text=True, timeout=30
    )
    assert (said.returncode, said.stdout) == (1, "")
    return said.stderr.splitlines()


def test_all_that_a_process_says_is_json() -> None:
    library, refusal, warning, failure, thread, end = [json.loads(line) for line in last_words("json")]
    assert library["message"] == "a\nforged line \x1b[31m \u202e"
    assert (warning["logger"], warning["level"]) == ("py.warnings", "warning")
    assert "UserWarning: old" in warning["message"]
    assert failure["message"] == "It failed."
    assert failure["exception"].startswith("Traceback (most recent call last):\n")
    assert failure["exception"].endswith("ValueError: first\n2026-01-01 00:00:00 INFO    forged")
    assert (thread["level"], thread["message"]) == ("critical", "The thread worker died.")
    assert thread["exception"].endswith("ZeroDivisionError: division by zero")
    assert end["exception"].endswith("KeyError: 'the end'")
    ids = [record.get("request_id") for record in (library, refusal, warning, failure, thread, end)]
    assert ids == ["the-request", "another", "the-request", "the-request", None, "the-request"]


def test_text_begins_lines_only_itself() -> None:
    lines = last_words("text")
    begun = [line for line in lines if not line.startswith("  ")]
    assert [line.split(None, 3)[2:] for line in begun] == [
        ["WARNING", "a\\nforged line \\x1b[31m \\u202e [the-request]"],
        ["INFO", "Refused. [another]"],
        ["WARNING", begun[2].split(None, 3)[3]],
        ["ERROR", "It failed. [the-request]"],
        ["CRITICAL", "The thread worker died."],
        ["CRITICAL", "The process died. [the-request]"],
    ]
    assert "  2026-01-01 00:00:00 INFO    forged" in lines
    assert all(line.isprintable() for line in lines)
