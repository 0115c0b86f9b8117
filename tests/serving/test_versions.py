"""Versions that come, go, and break while the server runs."""

import shutil
import time
from pathlib import Path

import pytest

from tests.serving.bundles import color_bundle, metadata, publish, replace
from tests.serving.pictures import RED
from tests.serving.running_server import Server, StartServer

# Answers "blue" where the usual bundle answers "red".
REVERSED = color_bundle(order=(2, 1, 0))
BAD = color_bundle(properties=metadata(eval_accuracy=None))


def version(server: Server) -> int | None:
    response = server.get("/readyz")
    return int(response.json()["model"]["version"]) if response.status_code == 200 else None


def wait_for_version(server: Server, number: int) -> None:
    server.wait_for(lambda: version(server) == number)


def test_an_empty_folder_is_waited_for(start_server: StartServer, models: Path) -> None:
    server = start_server()
    assert server.get("/healthz").json() == {"status": "alive"}
    for response in (
        server.get("/readyz"),
        server.post(RED),
        server.get("/metrics", headers={"Accept": "application/json"}),
    ):
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert response.headers["content-type"] == "application/problem+json"
        assert "'cifar10'" in response.json()["detail"]
        assert "published yet" in response.json()["detail"]
    assert 'model_ready{model="cifar10"} 0.0' in server.get("/metrics").text
    assert "Waiting for" in server.log
    publish(models, 1, color_bundle())
    wait_for_version(server, 1)
    assert server.post(RED).json()["label"] == "red"
    assert 'model_ready{model="cifar10"} 1.0' in server.get("/metrics").text


def test_the_highest_version_serves_and_other_names_are_no_versions(start_server: StartServer, models: Path) -> None:
    for number in (2, 9, 10):
        publish(models, number, color_bundle())
    for name in ("011", "0", "-3", "1e3", "latest", ".12.abc", "12.5", "99999999999999999999", "\u0663"):
        publish(models, name, REVERSED)
    (models / "cifar10" / "config.pbtxt").write_text('name: "cifar10"')
    (models / "cifar10" / "13").mkdir()
    (models / "cifar10" / "14").write_text("a file")
    publish(models, 20, REVERSED, name="other")
    server = start_server()
    assert version(server) == 10
    assert server.post(RED).json()["label"] == "red"
    assert "Refused" not in server.log


def test_another_model_can_be_named(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    publish(models, 3, REVERSED, name="synthetic")
    assert start_server("--model", "synthetic").post(RED).json()["model"] == {
        "name": "synthetic",
        "version": 3,
    }


def test_a_bad_new_version_is_refused_once_while_the_old_goes_on(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    path = publish(models, 2, BAD)
    server.wait_for(lambda: "Refused cifar10 version 2" in server.log)
    time.sleep(0.5)
    assert server.log.count("Refused") == 1
    assert "no eval_accuracy" in server.log
    assert version(server) == 1
    assert server.post(RED).status_code == 200
    metrics = server.get("/metrics").text
    assert 'model_load_failures_total{model="cifar10"} 1.0' in metrics
    assert 'model_version_refused{model="cifar10",version="2"} 1.0' in metrics
    facts = server.get("/metrics", headers={"Accept": "application/json"}).json()
    assert facts["refused_versions"] == [{"version": 2, "reason": "its metadata has no eval_accuracy."}]
    replace(path, b"still bad")
    server.wait_for(lambda: server.log.count("Refused") == 2)
    replace(path, REVERSED)
    wait_for_version(server, 2)
    assert "model_version_refused{" not in server.get("/metrics").text


def test_the_next_lower_valid_version_serves_at_start(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    publish(models, 2, REVERSED)
    publish(models, 3, BAD)
    publish(models, 4, b"garbage")
    server = start_server()
    assert version(server) == 2
    assert server.log.count("Refused") == 2


def test_only_bad_versions_leave_the_server_up_but_not_ready(start_server: StartServer, models: Path) -> None:
    publish(models, 1, BAD)
    server = start_server()
    response = server.get("/readyz")
    assert response.status_code == 503
    assert "was refused (1)" in response.json()["detail"]
    assert server.get("/healthz").status_code == 200
    assert server.get("/").status_code == 200
    publish(models, 2, color_bundle())
    wait_for_version(server, 2)


def test_a_withdrawn_version_rolls_back_and_the_last_one_ends_service(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    publish(models, 2, REVERSED)
    server = start_server()
    assert server.post(RED).json()["label"] == "blue"
    shutil.rmtree(models / "cifar10" / "2")
    wait_for_version(server, 1)
    assert server.post(RED).json()["label"] == "red"
    shutil.rmtree(models / "cifar10")
    server.wait_for(lambda: version(server) is None)
    assert server.post(RED).status_code == 503
    assert "model_eval_accuracy{" not in server.get("/metrics").text
    publish(models, 1, color_bundle())
    wait_for_version(server, 1)


def test_a_vanished_volume_withdraws_nothing(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    models.rename(models.with_name("unmounted"))
    server.wait_for(lambda: "nothing changes" in server.log)
    time.sleep(0.5)
    assert version(server) == 1
    assert server.log.count("nothing changes") == 1
    models.with_name("unmounted").rename(models)
    publish(models, 2, REVERSED)
    wait_for_version(server, 2)


def test_a_version_replaced_in_place_is_noticed(start_server: StartServer, models: Path) -> None:
    path = publish(models, 1, color_bundle())
    server = start_server()
    replace(path, REVERSED)
    server.wait_for(lambda: server.post(RED).json()["label"] == "blue")
    replace(path, BAD)
    server.wait_for(lambda: "Refused cifar10 version 1" in server.log)
    assert server.post(RED).json()["label"] == "blue"


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_a_half_written_version_is_served_only_when_whole(
    start_server: StartServer, models: Path, pause: float
) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    (models / "cifar10" / "2").mkdir()
    content = REVERSED
    with (models / "cifar10" / "2" / "model.onnx").open("wb", buffering=0) as file:
        for start in range(0, len(content), len(content) // 4 + 1):
            file.write(content[start : start + len(content) // 4 + 1])
            assert server.post(RED).json()["model"]["version"] == 1 or start + len(content) // 4 + 1 >= len(content)
            time.sleep(pause)
    wait_for_version(server, 2)
    assert server.post(RED).json()["label"] == "blue"
