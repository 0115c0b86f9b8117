"""``python -m serving`` as a real process on a free port."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Server:
    """A running ``python -m serving``."""

    process: subprocess.Popen[str]
    log_path: Path
    models: Path
    url: str = ""
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20))

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(self.url + path, **options)

    def post(self, content: Any, **headers: str) -> httpx.Response:
        """Post a raw body; header names are written with underscores."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.client.post(self.url + "/predict", content=content, headers={"Content-Type": "image/png"} | named)

    def wait_for(self, reached: Callable[[], object], seconds: float = 10) -> None:
        """Wait until something holds; fails with the log when it does not."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.02)

    def stop(self, sent: signal.Signals = signal.SIGTERM, seconds: float = 10) -> int:
        """Send a signal and return the exit status."""
        self.client.close()
        self.process.send_signal(sent)
        return self.process.wait(seconds)


StartServer = Callable[..., Server]


def run_serving(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m serving`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "serving", *arguments],
        cwd=REPOSITORY,
        env=_environment(variables),
        capture_output=True,
        text=True,
        timeout=30,
    )


def _environment(variables: dict[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SERVING_")}
    return kept | variables


def start(models: Path, log_path: Path, arguments: tuple[str, ...], variables: dict[str, str]) -> Server:
    command = [sys.executable, "-m", "serving", "--models-dir", str(models), "--port", "0", *arguments]
    with log_path.open("w") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=_environment(variables), stderr=log, text=True)
    server = Server(process, log_path, models)
    server.wait_for(lambda: re.search(r"Listening on (\S+);", server.log), seconds=30)
    match = re.search(r"Listening on (\S+);", server.log)
    assert match
    server.url = match[1]
    return server
