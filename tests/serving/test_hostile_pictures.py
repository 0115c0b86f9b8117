"""Pictures that cost their reader far more than their sender: bounded time, bounded memory, and the right answer."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serving.bundles import color_bundle, publish
from tests.serving.hostile_pictures import BROKEN, READ, TOO_LARGE, png_of_zeros, webp_of_canvas
from tests.serving.pictures import RED
from tests.serving.running_server import Server, start

MOST_SECONDS = 2.0  # of the server's processor time
MOST_MEMORY = 1100  # MiB; one picture of 40 megapixels takes 600


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that decodes on many threads, as on a machine of many processors."""
    folder = tmp_path_factory.mktemp("serving")
    publish(folder / "models", 1, color_bundle())
    server = start(folder / "models", folder / "server.log", ("--inference-threads", "8"), {})
    yield server
    assert server.stop() == 0


def processor_seconds(server: Server) -> float:
    """User and system time of the process so far; proc(5)."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(server: Server) -> float:
    """The most that the process has had in memory so far, in MiB."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@pytest.mark.parametrize(
    ("make", "status"),
    [
        pytest.param(make, status, id=name)
        for status, pictures in ((200, READ), (422, BROKEN), (413, TOO_LARGE))
        for name, make in pictures.items()
    ],
)
def test_what_costs_more_than_it_weighs_is_bounded(attacked: Server, make: Callable[[], bytes], status: int) -> None:
    data = make()
    assert len(data) < 5_000_000
    began = processor_seconds(attacked)
    answer = attacked.post(data, Content_Type="application/octet-stream")
    assert processor_seconds(attacked) - began < MOST_SECONDS
    assert peak_memory(attacked) < MOST_MEMORY
    assert answer.status_code == status, answer.text
    assert answer.json().get("label") == ("red" if status == 200 else None)
    assert "Warning" not in attacked.log
    assert "Traceback" not in attacked.log


def test_many_at_once_take_no_more_memory_than_one(attacked: Server) -> None:
    pictures = [png_of_zeros(8000, 5000), webp_of_canvas(8000, 5000), RED] * 4
    with ThreadPoolExecutor(12) as clients:
        statuses = list(clients.map(lambda data: attacked.post(data).status_code, pictures))
    assert statuses == [200] * 12
    assert peak_memory(attacked) < MOST_MEMORY
