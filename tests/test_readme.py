"""The README's commands, as they stand, in a copy of the repository; and `make run`, from training to an answer.

What is replaced: numbers of steps (a test has seconds), the port (8000 may be taken), and what installs, which has run
before the tests can.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from benchmarks.serving_process import free_port
from tests.shipped_model import shipped_versions

REPOSITORY = Path(__file__).parent.parent
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
SERVERS = ("python -m serving", "tensorboard --logdir runs")  # these run until they are stopped
SERVING_ALONE = ("python3 -m venv .venv-serving", ". .venv-serving/", "pip install")
SECONDS = 120


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What git would clone, with this interpreter's environment as its .venv."""
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).exists():
            shutil.copy2(REPOSITORY / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


@pytest.fixture
def port() -> int:
    return free_port()


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": ""} | variables


def readme_commands() -> list[str]:
    blocks = BLOCK.findall((REPOSITORY / "README.md").read_text())
    return [line for block in blocks for line in block.splitlines() if line]


def readme_snippets() -> list[str]:
    """Programs in Python, which talk to the server."""
    snippets = SNIPPET.findall((REPOSITORY / "README.md").read_text())
    assert snippets
    return snippets


def quick(command: str, port: int) -> str:
    command = re.sub(r"--steps (\d+)00\b", r"--steps \1", command)
    command = re.sub(r"(train .*--recipe fast) --run-dir", r"\1 --steps 10 --run-dir", command)
    return command.replace(":8000", f":{port}")


def put_flowers(folder: Path) -> None:
    """What the README's reader has: a folder of pictures for each class."""
    random = np.random.default_rng(0)
    for name, shade in {"daisy": (250, 240, 200), "wild rose": (220, 60, 120)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(1, 21):
            pixels = np.clip(random.normal(shade, 20, (40, 60, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            httpx.get(url).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def servers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that the test leaves running, each the leader of a group; they are stopped at its end."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    for process in started:
        process.wait(SECONDS)


def test_readme_commands(copy: Path, port: int, cifar10_dir: Path, servers: list[subprocess.Popen[bytes]]) -> None:
    variables = environment(CIFAR10_DIR=str(cifar10_dir), SERVING_PORT=str(port))
    put_flowers(copy / "flowers")

    ran = 0
    for command in readme_commands():
        elsewhere = command.startswith(("make ", "docker ", "echo COMPOSE_FILE=", *SERVING_ALONE))
        asks_make_run = command.startswith("curl ") and not servers
        if elsewhere or asks_make_run:  # other tests try these
            continue
        ran += 1
        if command in SERVERS:
            log = copy / f"server-{ran}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    shlex.split(command), cwd=copy, env=variables, stdout=output, stderr=output, start_new_session=True
                )
            servers.append(process)
            if "serving" in command:
                wait_for(f"http://127.0.0.1:{port}/readyz", process, log)
            continue
        if command.startswith("curl "):
            command = command.replace("curl ", "curl --silent --show-error --fail-with-body ")
        done = subprocess.run(
            ["sh", "-ec", quick(command, port)],
            cwd=copy,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert ran >= 12, "the README's commands were not found"
    for snippet in readme_snippets():
        program = [sys.executable, "-c", quick(snippet, port)]
        done = subprocess.run(program, cwd=copy, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, (snippet, done.stdout, done.stderr)
    assert all(process.poll() is None for process in servers)


@pytest.mark.parametrize("network", [True, False], ids=["cifar10", "no network"])
def test_make_run(
    network: bool, copy: Path, port: int, cifar10_dir: Path, servers: list[subprocess.Popen[bytes]]
) -> None:
    """Trains, evaluates, exports, serves what was trained, and prints a curl line that works."""
    if network:
        variables = environment(CIFAR10_DIR=str(cifar10_dir))
    else:
        nowhere = "http://127.0.0.1:9"  # the discard port: nothing listens there
        variables = environment(
            CIFAR10_DIR=str(copy / "data"), https_proxy=nowhere, http_proxy=nowhere, no_proxy="127.0.0.1"
        )
    log = copy / "make.log"
    installed = ["-o", ".venv/pip", "-o", ".venv/users"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", *installed, "run", "STEPS=20", f"PORT={port}"],
            cwd=copy,
            env=variables,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    servers.append(process)
    wait_for(f"http://127.0.0.1:{port}/readyz", process, log)

    curl = re.search(r"^ +(curl -F .*)$", log.read_text(), re.MULTILINE)
    assert curl, log.read_text()
    answer = json.loads(subprocess.check_output(["sh", "-c", curl[1]], cwd=copy, env=variables))
    name = "cifar10" if network else "synthetic"
    published = sorted((copy / "models" / name).glob("[0-9]*"))
    assert answer["model"] == {"name": name, "version": len(published)}
    assert answer["label"] in answer["probabilities"]
    assert re.search(r"step 10, loss = \d\.\d\d \([\d.]+ examples/sec; [\d.]+ sec/batch\)", log.read_text())
    if not network:
        cifar10 = {folder.name for folder in (copy / "models" / "cifar10").iterdir() if folder.is_dir()}
        assert cifar10 == {folder.name for folder in shipped_versions()}, "drawings published as cifar10"


def test_make_run_finds_out_first_that_a_port_is_taken(copy: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        installed = ["-o", ".venv/pip", "-o", ".venv/users"]
        command = ["make", *installed, "run", f"PORT={port}"]
        done = subprocess.run(command, cwd=copy, env=environment(), capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert f"Port {port} cannot be had; choose another, as in make run PORT=8001." in done.stderr.splitlines()
    assert not (copy / "runs").exists()


def test_serving_installs_and_predicts_without_torch(
    copy: Path, port: int, servers: list[subprocess.Popen[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The README's environment for serving alone, made anew, answering with the model that ships."""
    elsewhere = tmp_path_factory.mktemp("serving")  # so that the package is used as it was installed
    python = str(elsewhere / "venv" / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", elsewhere / "venv"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", ".[serve]"]
    subprocess.run(install, cwd=copy, check=True, env=environment())
    assert subprocess.run([python, "-c", "import torch"], cwd=elsewhere, capture_output=True).returncode == 1

    log = elsewhere / "server.log"
    command = [python, "-m", "serving", "--models-dir", str(copy / "models"), "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=elsewhere, env=environment(), stdout=output, stderr=output, start_new_session=True
        )
    servers.append(process)
    wait_for(f"http://127.0.0.1:{port}/readyz", process, log)
    page = httpx.get(f"http://127.0.0.1:{port}/")
    assert page.status_code == 200
    assert "<html" in page.text
    picture = copy / "docs" / "ship.png"
    if not picture.exists():
        Image.new("RGB", (32, 32), (70, 110, 160)).save(picture)
    with picture.open("rb") as file:
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", files={"file": file}).json()
    assert answer["label"] in answer["probabilities"]
    assert answer["model"]["name"] == "cifar10"
