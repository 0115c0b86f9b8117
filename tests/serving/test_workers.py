"""Several worker processes behind one port, as clients, operators and Prometheus see them."""

import os
import re
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest

from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import GREEN
from tests.serving.running_server import Server, StartServer, run_serving
from tests.serving.test_batching import send
from tests.serving.test_routes import labels, scrape

TWO = ("--workers", "2")


@pytest.fixture
def server(models: Path, start_server: StartServer) -> Server:
    publish(models, 1, color_bundle())
    return start_server(*TWO)


def workers_of(server: Server) -> list[int]:
    """Process numbers of the supervisor's children that are workers."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(child) for child in children if b"multiprocessing.spawn" in Path(f"/proc/{child}/cmdline").read_bytes()]


def memory_of(process: int) -> int:
    """Its resident memory in bytes."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def ask(server: Server) -> httpx.Response:
    """Ask over a connection of its own: the kernel chooses the worker anew."""
    return httpx.post(f"{server.url}/predict", content=GREEN, headers={"Content-Type": "image/png"}, timeout=10)


def test_any_worker_answers_and_any_tells_the_metrics_of_all(server: Server) -> None:
    assert {ask(server).json()["label"] for _ in range(40)} == {"green"}
    server.wait_for(lambda: scrape(server)["predict_requests_total", labels(status="200")] == 40)

    for _ in range(6):
        samples = scrape(server)
        assert samples["predict_requests_total", labels(status="200")] == 40
        assert samples["predict_request_duration_seconds_count", labels()] == 40
        assert samples["workers", labels()] == 2
        assert samples["model_ready", labels(model="cifar10")] == 1
        assert samples["inference_queue_pictures", labels()] == 0
        resident = [memory_of(process) for process in (server.process.pid, *workers_of(server))]
        assert len(resident) == 3
        assert sum(resident) * 0.9 < samples["process_resident_memory_bytes", labels()] < sum(resident) * 1.5
        assert samples["process_cpu_seconds_total", labels()] > 0.5
        server.client.close()
        server.client = httpx.Client(timeout=20)


def test_each_worker_has_room_for_a_whole_request(models: Path, start_server: StartServer) -> None:
    publish(models, 1, color_bundle())
    server = start_server(*TWO, "--max-queue", "100")
    answer = send(server, *[("a", GREEN)] * 64)
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 64


def test_a_killed_worker_is_replaced_and_its_counts_are_kept(server: Server) -> None:
    for _ in range(20):
        assert ask(server).status_code == 200
    # A request is counted when its answer has been sent.
    server.wait_for(lambda: scrape(server)["predict_requests_total", labels(status="200")] == 20)
    before = workers_of(server)
    assert len(before) == 2

    os.kill(before[0], signal.SIGKILL)
    server.wait_for(lambda: "is started again" in server.log)
    server.wait_for(lambda: len(workers_of(server)) == 2 and scrape(server)["workers", labels()] == 2, seconds=20)

    assert set(workers_of(server)) != set(before)
    assert scrape(server)["predict_requests_total", labels(status="200")] == 20
    assert ask(server).status_code == 200
    server.wait_for(lambda: scrape(server)["predict_requests_total", labels(status="200")] == 21)


def kill_one(server: Server) -> None:
    """Have one worker replaced."""
    os.kill(workers_of(server)[0], signal.SIGKILL)
    server.wait_for(lambda: "is started again" in server.log)


def test_the_log_says_why_a_worker_could_not_be_started_again(server: Server, models: Path) -> None:
    models.rename(models.with_name("elsewhere"))
    kill_one(server)
    sentence = rf"ended with status 2 after \d+ seconds \(the models folder '{models}' does not exist; create it"
    server.wait_for(lambda: re.search(sentence, server.log), seconds=20)
    models.with_name("elsewhere").rename(models)
    server.wait_for(lambda: scrape(server)["workers", labels()] == 2, seconds=20)


def test_a_new_worker_has_the_keys_of_the_others(models: Path, start_server: StartServer, tmp_path: Path) -> None:
    publish(models, 1, color_bundle())
    keys = tmp_path / "keys"
    keys.write_text("first-key-0123\n")
    server = start_server(*TWO, "--api-key-file", str(keys))
    keys.write_text("second-key-4567\n")
    kill_one(server)
    server.wait_for(lambda: len(workers_of(server)) == 2 and scrape(server)["workers", labels()] == 2, seconds=20)
    for key, status in (("first-key-0123", 200), ("second-key-4567", 401)):
        headers = {"Content-Type": "image/png", "X-API-Key": key}
        answers = [httpx.post(f"{server.url}/predict", content=GREEN, headers=headers) for _ in range(20)]
        assert {answer.status_code for answer in answers} == {status}


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_stops_all_of_it_with_status_0(server: Server, sent: signal.Signals) -> None:
    workers = workers_of(server)

    assert server.stop(sent) == 0

    assert not any(is_alive(worker) for worker in workers)
    assert server.log.count("requests under way are answered") == 1 + len(workers)
    assert "Traceback" not in server.log


def test_workers_stop_when_their_supervisor_is_killed(server: Server) -> None:
    workers = workers_of(server)

    server.process.kill()
    server.process.wait()

    deadline = time.monotonic() + 10
    while any(is_alive(worker) for worker in workers):
        assert time.monotonic() < deadline, server.log
        time.sleep(0.05)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", server.port))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_with_workers_behind_it_is_in_use(server: Server, workers: str) -> None:
    result = run_serving("--models-dir", str(server.models), "--port", str(server.port), "--workers", workers)

    assert result.returncode == 2
    assert f"port {server.port} on 127.0.0.1 is in use" in result.stderr


def test_what_stops_every_worker_is_said_once(models: Path) -> None:
    result = run_serving("--models-dir", str(models / "missing"), "--port", "0", *TWO)

    assert result.returncode == 2
    assert result.stderr.count("does not exist") == 1
    assert "Traceback" not in result.stderr
