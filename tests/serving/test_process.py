"""The process as its operator sees it: settings, mistakes, signals."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.settings import Settings, UsageError, parse_settings
from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import RED
from tests.serving.running_server import REPOSITORY, Server, StartServer, run_serving


def test_help_shows_every_flag_with_its_default_and_variable() -> None:
    said = run_serving("--help")
    assert said.returncode == 0
    text = " ".join(said.stdout.split())
    for name in Settings.__dataclass_fields__:
        assert f"--{name.replace('_', '-')} " in text
        assert f"variable: SERVING_{name.upper()})" in text
    for default in ("models", "cifar10", "127.0.0.1", "8000", "5000000", "40000000", "30", "off"):
        assert f"(default: {default};" in text


def test_a_flag_beats_its_variable_which_beats_the_default() -> None:
    environment = {
        "SERVING_PORT": "9000",
        "SERVING_MODEL": "synthetic",
        "SERVING_REQUIRE_CUDA": "yes",
        "SERVING_HOST": "",
    }
    settings = parse_settings(["--port", "9001", "--no-require-cuda"], environment)
    assert (settings.port, settings.model, settings.require_cuda) == (9001, "synthetic", False)
    assert settings.host == "127.0.0.1"
    assert parse_settings([], environment).require_cuda
    origins = parse_settings(["--cors-origins", "https://A.example , http://[::1]:5173,*"], {}).cors_origins
    assert origins == ("https://a.example", "http://[::1]:5173", "*")
    assert parse_settings(["--cors-origins", "none"], {"SERVING_CORS_ORIGINS": "*"}).cors_origins == ()
    assert parse_settings([], {}) == Settings()


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--port", "http"),
        ("--port", "65536"),
        ("--port", "-1"),
        ("--max-body-bytes", "5MB"),
        ("--max-pixels", "0"),
        ("--max-pixels", "999999999"),
        ("--upload-timeout", "0"),
        ("--poll-interval", "nan"),
        ("--inference-threads", "0"),
        ("--log-level", "loud"),
        ("--model", "../secrets"),
        ("--host", " "),
        ("--log-format", "xml"),
        ("--cors-origins", "example.org"),
        ("--cors-origins", "https://example.org/"),
        ("--cors-origins", "none,https://example.org"),
        ("--cors-origins", "https://example.org,"),
        ("--otlp-endpoint", "localhost:4318"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(flag: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"^{flag} must be .+, not '{re.escape(value)}'\.$"):
        parse_settings([f"{flag}={value}"], {})
    variable = "SERVING_" + flag[2:].replace("-", "_").upper()
    with pytest.raises(UsageError, match=rf"^{variable} must be "):
        parse_settings([], {variable: value})


def one_sentence(said: "subprocess.CompletedProcess[str]") -> str:
    """Check for exit status 2 and one line that says why, nothing else but the log's first line."""
    assert (said.returncode, said.stdout) == (2, ""), said
    lines = [line for line in said.stderr.splitlines() if " INFO " not in line]
    assert len(lines) == 1, said.stderr
    assert lines[0].startswith("serving: ")
    assert lines[0].endswith(".")
    return lines[0]


def test_mistakes_end_in_one_sentence_and_status_2(tmp_path: Path) -> None:
    assert "unrecognized arguments: --frobnicate" in one_sentence(run_serving("--frobnicate"))
    assert "SERVING_PORT must be a whole number" in one_sentence(run_serving(SERVING_PORT="tcp://10.0.0.1:80"))
    assert "does not exist" in one_sentence(run_serving("--models-dir", str(tmp_path / "none")))
    assert "cannot listen on" in one_sentence(run_serving("--models-dir", str(tmp_path), "--host", "no.such.invalid"))


def test_a_port_in_use_is_said_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} on 127.0.0.1 is in use" in one_sentence(
            run_serving("--models-dir", str(tmp_path), "--port", port)
        )


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="has a GPU")
def test_required_cuda_that_is_not_there_is_refused_without_noise(tmp_path: Path) -> None:
    said = run_serving("--models-dir", str(tmp_path), "--port", "0", SERVING_REQUIRE_CUDA="1")
    assert "CUDA is required, but " in one_sentence(said)


def test_the_log_is_short_and_says_what_serves(start_server: StartServer, models: Path) -> None:
    publish(models, 3, color_bundle())
    server = start_server()
    server.post(RED)
    server.wait_for(lambda: " POST /predict " in server.log)  # written once the answer is sent
    lines = server.log.splitlines()
    assert len(lines) == 5, server.log
    assert "INFO    Predictions need no API key; only this machine reaches 127.0.0.1." in lines[0]
    assert "ExecutionProvider" in lines[1]
    assert "Serving cifar10 version 3: test accuracy 82.53 % of 10000 pictures" in lines[2]
    assert f"{server.url}; try: curl -F file=@picture.png {server.url}/predict" in lines[3]
    assert " POST /predict 200 " in lines[4]
    assert start_server("--log-level", "debug").post(RED).status_code == 200


def test_it_runs_without_torch_onnx_and_training() -> None:
    program = "import sys, serving.server; print(sorted({'torch', 'onnx', 'training'} & set(sys.modules)))"
    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_server_with_status_0(
    start_server: StartServer, models: Path, sent: signal.Signals
) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    assert server.post(RED).status_code == 200
    assert server.stop(sent) == 0
    assert server.log.splitlines()[-1].endswith("Stopped.")


def slow_upload(port: int) -> socket.socket:
    """Begin a request that is under way, as its server has said, until its last byte is sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=15)
    connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n")
    connection.sendall(b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(RED))
    assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(RED[:-1])
    return connection


def begin_to_stop(server: Server) -> None:
    """Send SIGTERM, and wait until nobody can connect any more."""
    server.process.send_signal(signal.SIGTERM)
    server.wait_for(lambda: not is_listening(server.port))


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_requests_under_way_are_answered_before_the_end(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    uploads = [slow_upload(server.port) for _ in range(3)]
    begin_to_stop(server)
    for upload in uploads:
        upload.sendall(RED[-1:])
        assert upload.recv(65536).startswith(b"HTTP/1.1 200 OK")
        upload.close()
    assert server.process.wait(10) == 0


def test_every_accepted_request_is_answered_while_stopping_under_load(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(ask_until_refused, server.port) for _ in range(8)]
        server.wait_for(lambda: server.log.count(" POST /predict 200 ") > 100)
        assert server.stop() == 0
    answers = [answer for each in asked for answer in each.result()]
    assert {answer[:15] for answer in answers} == {b"HTTP/1.1 200 OK"}
    assert server.log.count(" POST /predict ") == len(answers)
    assert "Traceback" not in server.log


def ask_until_refused(port: int) -> list[bytes]:
    """What a server answers to one client's requests, each over a connection of its own, until it takes no more."""
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: image/png\r\n"
    request += b"Content-Length: %d\r\n\r\n" % len(RED) + RED
    answers = []
    while True:
        # One that is closed with the listening socket was in its queue, and never accepted.
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(request)
                if answer := connection.recv(65536):
                    answers.append(answer)
        except ConnectionError:
            return answers


def test_a_stuck_request_does_not_hold_up_the_end_beyond_the_timeout(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--shutdown-timeout", "1")
    with slow_upload(server.port) as upload:
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin > 0.9  # it has had its second
        answer = upload.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"The server stopped before" in answer
    assert "Traceback" not in server.log


def test_a_second_signal_forces_the_end(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    with slow_upload(server.port):
        begin_to_stop(server)
        assert server.process.poll() is None
        server.stop(signal.SIGTERM)


def test_a_killed_server_starts_again_on_its_port(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    assert server.post(RED).status_code == 200
    server.stop(signal.SIGKILL)
    again = start_server("--port", str(server.port))
    assert again.url == server.url
    assert again.post(RED).status_code == 200
