"""Servers that run for a test, or for all of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.bundle import Threads, read_bundle
from serving.classifier import Classifier
from serving.providers import CPU, Provider
from tests.serving.bundles import color_bundle, publish
from tests.serving.running_server import Server, StartServer
from tests.serving.running_server import start as start_process


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """An empty folder of models."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def start_server(models: Path, tmp_path: Path) -> Iterator[StartServer]:
    """Start servers on ``models`` that end with the test."""
    started: list[Server] = []

    def start(*arguments: str, **variables: str) -> Server:
        polling = () if "--poll-interval" in arguments else ("--poll-interval", "0.1")
        server = start_process(models, tmp_path / f"server-{len(started)}.log", (*arguments, *polling), variables)
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        server.client.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for every test that leaves its models alone."""
    folder = tmp_path_factory.mktemp("serving")
    publish(folder / "models", 1, color_bundle())
    server = start_process(folder / "models", folder / "server.log", (), {})
    yield server
    assert server.stop() == 0


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    """The model that names the strongest colour, read and not warmed up."""
    publish(tmp_path, 1, color_bundle())
    bundle = read_bundle(tmp_path / "cifar10" / "1" / "model.onnx", Provider(CPU), Threads(batch=1, lone=2))
    return Classifier("cifar10", 1, bundle, Provider(CPU))
