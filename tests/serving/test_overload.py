"""Far more requests than the server may keep: every one is answered, and nobody else notices."""

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import BLUE, GREEN, RED
from tests.serving.running_server import StartServer
from tests.serving.test_routes import labels, scrape

CONNECTIONS = 96
MAX_QUEUE = 8
SECONDS = 3.0
PATIENCE_SECONDS = 5.0
PROBES = ("/healthz", "/readyz", "/metrics")
MEBIBYTE = 2**20


def test_every_request_is_answered_and_probes_are_never_refused(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--max-queue", str(MAX_QUEUE))
    before = asyncio.run(overload(server.port, SECONDS / 3))[0]
    resident = scrape(server)["process_resident_memory_bytes", labels()]

    counts, probes = asyncio.run(overload(server.port, SECONDS))

    assert set(counts) == {200, 503}
    assert min(counts.values()) > MAX_QUEUE
    assert set(probes) == {(path, 200) for path in PROBES}
    samples = scrape(server)
    for status in (200, 503):
        assert samples["predict_requests_total", labels(status=str(status))] == before[status] + counts[status]
    assert samples["inference_queue_pictures", labels()] == 0
    assert samples["process_resident_memory_bytes", labels()] < resident + 16 * MEBIBYTE
    assert server.post(RED).json()["label"] == "red"
    assert server.log.count("Traceback") == 0


async def overload(port: int, seconds: float) -> tuple[Counter[int], list[tuple[str, int]]]:
    """Answers by status, and the probes meanwhile: path and status."""
    until = time.monotonic() + seconds
    pictures = {"red": RED, "green": GREEN, "blue": BLUE}
    labels_of_all = list(pictures) * (CONNECTIONS // len(pictures))
    probes = asyncio.create_task(probe(port, until))
    found = await asyncio.gather(*(ask(port, pictures[label], label, until) for label in labels_of_all))
    return sum(found, Counter()), await probes


async def ask(port: int, picture: bytes, label: str, until: float) -> Counter[int]:
    """Post one picture again and again over one connection; fails where an answer is late, wrong or missing."""
    counts: Counter[int] = Counter()
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        writer.write(request % len(picture) + picture)
        status, headers, answer = await read_answer(reader)
        if status == 503:
            assert (headers["retry-after"], answer["status"]) == ("1", 503)
            assert answer["type"] == "urn:problem-type:queue-full"
        else:
            assert answer["label"] == label
        counts[status] += 1
    writer.close()
    return counts


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, json.loads(body)


async def probe(port: int, until: float) -> list[tuple[str, int]]:
    """Ask the probes in turns, as an orchestrator does: over a new connection each time."""
    found = []
    while time.monotonic() < until:
        for path in PROBES:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            async with asyncio.timeout(PATIENCE_SECONDS):
                status = int((await reader.read()).split()[1])
            writer.close()
            found.append((path, status))
            await asyncio.sleep(0.05)
    return found
