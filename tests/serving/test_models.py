"""Several models and several versions of each, side by side."""

import os
import shutil
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from serving.bundle import ONE_THREAD
from serving.model_metrics import MOST_SERIES, ModelCollector, PredictionCounter
from serving.models import Models
from serving.providers import CPU, Provider
from serving.repository import NotReady, UnknownModel
from tests.serving.bundles import (
    CLASSES,
    brightness_bundle,
    color_bundle,
    color_probabilities,
    metadata,
    publish,
    replace,
)
from tests.serving.pictures import BLUE, RED, encode
from tests.serving.running_server import Server, StartServer
from tests.serving.test_predict import problem
from tests.serving.test_routes import labels, scrape
from tests.serving.test_versions import BAD, REVERSED

FRENCH = ("rouge", "vert", "bleu")
FRENCH_BUNDLE = color_bundle(height=16, width=24, properties=metadata(FRENCH, eval_accuracy="0.5"))


def ask(server: Server, query: str = "", picture: bytes = RED) -> httpx.Response:
    url = f"{server.url}/predict{query}"
    return server.client.post(url, content=picture, headers={"Content-Type": "image/png"})


def listed(server: Server) -> dict[str, Any]:
    return {model["name"]: model for model in server.get("/models").json()}


def loaded(server: Server, name: str = "cifar10") -> list[int]:
    return [version["version"] for version in listed(server)[name]["versions"]] if name in listed(server) else []


def wait_until_loaded(server: Server, *versions: int, name: str = "cifar10") -> None:
    server.wait_for(lambda: loaded(server, name) == list(versions))


def folder_of(models: Path, most_versions: int = 4) -> Models:
    return Models(models, "cifar10", Provider(CPU), threads=ONE_THREAD, most_versions=most_versions)


def test_every_model_answers_in_its_own_way(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    publish(models, 1, REVERSED, name="reversed")
    publish(models, 7, FRENCH_BUNDLE, name="french")
    server = start_server()
    wait_until_loaded(server, 1, name="reversed")
    assert ask(server).json()["model"] == {"name": "cifar10", "version": 1}
    assert ask(server, "?model=cifar10").json() == ask(server).json()
    assert ask(server, "?model=reversed").json()["label"] == "blue"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    answer = ask(server, "?model=french", encode(pixels)).json()
    assert answer["model"] == {"name": "french", "version": 7}
    assert list(answer["probabilities"]) == list(FRENCH)
    assert list(answer["probabilities"].values()) == pytest.approx(color_probabilities(pixels), abs=1e-6)


def test_a_batch_names_its_model_too(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    publish(models, 1, FRENCH_BUNDLE, name="french")
    server = start_server()
    wait_until_loaded(server, 1, name="french")
    files = [("file", ("a", RED)), ("file", ("b", BLUE))]
    answers = server.client.post(f"{server.url}/predict/batch?model=french", files=files).json()["predictions"]
    assert [answer["prediction"]["label"] for answer in answers] == ["rouge", "bleu"]
    refused = server.client.post(f"{server.url}/predict/batch?model=none", files=files)
    assert "'none'" in problem(refused, 404)


def test_every_version_can_be_named(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    publish(models, 2, REVERSED)
    server = start_server()
    wait_until_loaded(server, 2, 1)
    for query, version, label in (
        ("", 2, "blue"),
        ("?version=1", 1, "red"),
        ("?version=2", 2, "blue"),
        ("?version=1&model=cifar10", 1, "red"),
    ):
        answer = ask(server, query).json()
        assert (answer["model"]["version"], answer["label"]) == (version, label)


@pytest.mark.parametrize(
    ("query", "status", "kind", "words"),
    [
        ("?model=dogs", 404, "unknown-model", "no model 'dogs'; there are: cifar10."),
        ("?model=", 404, "unknown-model", "no model ''"),
        ("?model=..%2Fcifar10", 404, "unknown-model", "no model '../cifar10'"),
        ("?model=%FF%00%0A", 404, "unknown-model", "no model"),
        ("?model=" + 5000 * "x", 404, "unknown-model", "no model"),
        ("?version=9", 404, "unknown-model", "'cifar10' has no version 9; loaded are: 1."),
        ("?version=999999999999999999", 404, "unknown-model", "no version"),
        ("?version=0", 400, "malformed-query", "whole number from 1, not '0'"),
        ("?version=", 400, "malformed-query", "whole number"),
        ("?version=-1", 400, "malformed-query", "whole number"),
        ("?version=01", 400, "malformed-query", "whole number"),
        ("?version=1.0", 400, "malformed-query", "whole number"),
        ("?version=latest", 400, "malformed-query", "not 'latest'"),
        ("?version=%D9%A1", 400, "malformed-query", "whole number"),
        ("?version=1" + 5000 * "0", 400, "malformed-query", "whole number"),
        ("?model=cifar10&model=dogs", 400, "malformed-query", "'model' more than once"),
        ("?version=1&version=1", 400, "malformed-query", "'version' more than once"),
    ],
)
def test_what_is_not_there_is_said(server: Server, query: str, status: int, kind: str, words: str) -> None:
    server.wait_for(lambda: ask(server, "?model=none").status_code == 404)
    refused = ask(server, query)
    sentence = problem(refused, status)
    assert words in sentence
    assert len(sentence) < 400
    assert refused.json()["type"] == f"urn:problem-type:{kind}"


@pytest.mark.parametrize("query", ["?", "?debug=1", "?model=cifar10&x=%FF&&=", "?Version=9"])
def test_other_parameters_are_ignored(server: Server, query: str) -> None:
    assert ask(server, query).json() == ask(server).json()


def test_the_list_says_what_each_version_is(start_server: StartServer, models: Path) -> None:
    publish(models, 3, color_bundle())
    publish(models, 10, REVERSED)
    publish(models, 11, BAD)
    publish(models, 1, FRENCH_BUNDLE, name="french")
    server = start_server()
    wait_until_loaded(server, 1, name="french")
    version = {
        "version": 10,
        "serving": True,
        "class_names": ["red", "green", "blue"],
        "eval_accuracy": 0.8253,
        "eval_split": "test",
        "eval_pictures": 10000,
        "input_shape": [None, 32, 32, 3],
        "recipe": "tutorial",
        "created": "2026-11-22T18:40:36Z",
        "quantization": None,
    }
    french = {"version": 1, "class_names": list(FRENCH), "eval_accuracy": 0.5, "input_shape": [None, 16, 24, 3]}
    assert server.get("/models").json() == [
        {
            "name": "cifar10",
            "is_default": True,
            "versions": [version, version | {"version": 3, "serving": False}],
            "refused_versions": [{"version": 11, "reason": "its metadata has no eval_accuracy."}],
        },
        {"name": "french", "is_default": False, "versions": [version | french], "refused_versions": []},
    ]


def test_one_model_states_its_facts(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    publish(models, 2, REVERSED)
    publish(models, 4, FRENCH_BUNDLE, name="french")
    server = start_server()
    wait_until_loaded(server, 4, name="french")
    assert server.get("/models/cifar10").json() == server.get("/metrics", headers={"Accept": "application/json"}).json()
    assert server.get("/models/cifar10/1").json()["version"] == 1
    assert server.get("/models/french").json()["metadata"]["class_names"] == list(FRENCH)
    assert "'dogs'" in problem(server.get("/models/dogs"), 404)
    assert "no version 3" in problem(server.get("/models/cifar10/3"), 404)
    assert "not '1e0'" in problem(server.get("/models/cifar10/1e0"), 404)


def test_a_list_of_nothing_has_the_default_model(start_server: StartServer) -> None:
    server = start_server()
    nothing = {"name": "cifar10", "is_default": True, "versions": [], "refused_versions": []}
    assert server.get("/models").json() == [nothing]
    assert "published yet" in problem(server.get("/models/cifar10"), 503)


def test_models_come_and_go_without_the_default_one_noticing(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    server.wait_for(lambda: ask(server, "?model=french").status_code == 404)
    publish(models, 1, FRENCH_BUNDLE, name="french")
    wait_until_loaded(server, 1, name="french")
    assert ask(server, "?model=french").json()["label"] == "rouge"
    publish(models, 2, b"garbage", name="french")
    publish(models, 1, BAD, name="broken")
    (models / "notes.txt").write_text("no model")
    (models / "empty").mkdir()
    server.wait_for(lambda: "Refused broken version 1" in server.log and "Refused french version 2" in server.log)
    assert ask(server, "?model=french").json()["model"]["version"] == 1
    assert "was refused (1)" in problem(ask(server, "?model=broken"), 503)
    assert sorted(listed(server)) == ["broken", "cifar10", "french"]
    shutil.rmtree(models / "french")
    shutil.rmtree(models / "broken")
    server.wait_for(lambda: sorted(listed(server)) == ["cifar10"])
    problem(ask(server, "?model=french"), 404)
    assert 'model="french"' not in metrics_of_models(server)
    assert server.get("/readyz").json()["model"] == {"name": "cifar10", "version": 1}
    assert server.log.count("Refused") == 2


def metrics_of_models(server: Server) -> str:
    """The metrics about what there is; counters of answers stay for good."""
    return "\n".join(line for line in server.get("/metrics").text.splitlines() if not line.startswith("predictions_"))


def test_without_the_default_model_the_others_are_told(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle(), name="flowers")
    publish(models, 1, b"no model", name="broken")
    server = start_server()
    assert "--model broken or flowers\n" in server.log
    server.wait_for(lambda: server.get("/models/flowers").status_code == 200)
    for answer in (ask(server), server.get("/readyz"), server.get("/metrics", headers={"Accept": "application/json"})):
        assert "'cifar10' has been published yet. Others are served, to whoever names them: flowers." in problem(
            answer, 503
        )
    assert ask(server, "?model=flowers").json()["label"] == "red"


def test_ready_is_the_default_model_alone(start_server: StartServer, models: Path) -> None:
    publish(models, 1, FRENCH_BUNDLE, name="french")
    server = start_server()
    wait_until_loaded(server, 1, name="french")
    assert server.get("/readyz").status_code == 503
    problem(ask(server), 503)
    assert ask(server, "?model=french").status_code == 200
    samples = scrape(server)
    assert samples["model_ready", labels(model="cifar10")] == 0
    assert samples["model_ready", labels(model="french")] == 1


def test_only_the_highest_valid_versions_stay_loaded(start_server: StartServer, models: Path) -> None:
    for version in (1, 2, 4):
        publish(models, version, color_bundle())
    publish(models, 3, BAD)
    server = start_server("--versions", "2")
    wait_until_loaded(server, 4, 2)
    assert "loaded are: 2, 4." in problem(ask(server, "?version=1"), 404)
    assert "has no eval_accuracy" in problem(ask(server, "?version=3"), 503)
    publish(models, 5, REVERSED)
    wait_until_loaded(server, 5, 4)
    assert "version 2 makes room" in server.log
    problem(ask(server, "?version=2"), 404)
    shutil.rmtree(models / "cifar10" / "5")
    wait_until_loaded(server, 4, 2)
    assert "version 5 was withdrawn" in server.log
    assert "Now serving cifar10 version 4" in server.log
    assert ask(server).json()["model"]["version"] == 4


def test_a_version_that_is_replaced_by_a_bad_file_stays_as_it_was(start_server: StartServer, models: Path) -> None:
    path = publish(models, 1, color_bundle())
    publish(models, 2, REVERSED)
    server = start_server()
    wait_until_loaded(server, 2, 1)
    replace(path, BAD)
    server.wait_for(lambda: listed(server)["cifar10"]["refused_versions"])
    assert ask(server, "?version=1").json()["label"] == "red"
    assert loaded(server) == [2, 1]
    replace(path, FRENCH_BUNDLE)
    server.wait_for(lambda: ask(server, "?version=1").json()["label"] == "rouge")
    assert listed(server)["cifar10"]["refused_versions"] == []
    assert ask(server).json()["label"] == "blue"


def test_links_are_followed_and_loops_of_them_refused(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    publish(models.with_name("elsewhere"), 1, FRENCH_BUNDLE, name="french")
    (models / "french").symlink_to(models.with_name("elsewhere") / "french")
    (models / "cifar10" / "2").mkdir()
    (models / "cifar10" / "2" / "model.onnx").symlink_to("model.onnx")
    (models / "cifar10" / "3").symlink_to("nowhere")
    server = start_server()
    wait_until_loaded(server, 1, name="french")
    wait_until_loaded(server, 1)
    assert "cannot be read" in problem(ask(server, "?version=2"), 503)
    assert server.log.count("Refused") == 1


def test_metrics_tell_models_and_versions_apart(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle(properties=metadata(eval_accuracy="0.7")))
    publish(models, 2, REVERSED)
    publish(models, 3, BAD)
    publish(models, 1, FRENCH_BUNDLE, name="french")
    server = start_server()
    wait_until_loaded(server, 1, name="french")
    for query in ("", "?version=1", "?model=french"):
        assert ask(server, query).status_code == 200
    problem(ask(server, "?model=dogs"), 404)
    samples = scrape(server)
    of = {name: {frozenset(pairs): n for (each, pairs), n in samples.items() if each == name} for name, _ in samples}
    assert of["model_ready"] == {labels(model="cifar10"): 1, labels(model="french"): 1}
    assert of["model_version_serving"] == {
        labels(model="cifar10", version="1"): 0,
        labels(model="cifar10", version="2"): 1,
        labels(model="french", version="1"): 1,
    }
    assert of["model_eval_accuracy"] == {
        labels(model="cifar10", version="1", split="test"): 0.7,
        labels(model="cifar10", version="2", split="test"): 0.8253,
        labels(model="french", version="1", split="test"): 0.5,
    }
    assert {dict(pairs)["version"] for pairs in of["model_info"] if dict(pairs)["model"] == "cifar10"} == {"1", "2"}
    of_classes = {(dict(pairs)["model"], dict(pairs)["version"]) for pairs in of["model_eval_class_accuracy"]}
    assert of_classes == {("cifar10", "2"), ("french", "1")}
    assert of["model_load_failures_total"] == {labels(model="cifar10"): 1, labels(model="french"): 0}
    assert of["predictions_total"] == {
        labels(model="cifar10", label="blue"): 1,
        labels(model="cifar10", label="red"): 1,
        labels(model="french", label="rouge"): 1,
    }
    assert of["predict_requests_total"][labels(status="404")] == 1


def test_labels_without_end_are_counted_together() -> None:
    registry = CollectorRegistry()
    counter = PredictionCounter(registry)
    for _ in range(2):
        for number in range(MOST_SERIES + 3):
            counter.count("many", f"class {number}")
    assert registry.get_sample_value("predictions_total", {"model": "many", "label": "class 0"}) == 2
    assert registry.get_sample_value("predictions_total", {"model": "many", "label": "other"}) == 6


def test_accuracies_of_classes_without_end_are_left_out(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.model_metrics.MOST_SERIES", 5)
    publish(models, 1, color_bundle())
    publish(models, 1, FRENCH_BUNDLE, name="french")
    publish(models, 1, brightness_bundle(metadata(("dark", "light"))), name="light")
    found = folder_of(models)
    found.refresh()
    (accuracies,) = (each for each in ModelCollector(found).collect() if each.name == "model_eval_class_accuracy")
    told = [(sample.labels["model"], sample.labels["label"]) for sample in accuracies.samples]
    assert told == [*(("cifar10", label) for label in CLASSES), ("light", "dark"), ("light", "light")]


def test_while_the_server_starts_nothing_is_called_unknown(models: Path) -> None:
    publish(models, 1, color_bundle())
    publish(models, 2, color_bundle())
    publish(models, 1, FRENCH_BUNDLE, name="french")
    found = folder_of(models)
    found.load_default()
    assert found.find().version == 2
    for name, version in (("french", None), (None, 1)):
        with pytest.raises(NotReady, match="just started"):
            found.find(name, version)
    found.refresh()
    assert found.find("french").name == "french"
    assert found.find(version=1).version == 1
    with pytest.raises(UnknownModel):
        found.find("dogs")


def test_a_missing_version_is_missed_twice_before_it_is_withdrawn(models: Path) -> None:
    """One look may fall between the two renames of a replacement."""
    for version in (1, 2, 3):
        publish(models, version, color_bundle())
    found = folder_of(models, most_versions=2)
    found.refresh()
    folder = models / "cifar10"
    for version in (2, 3):
        (folder / str(version)).rename(folder / ".away")
        found.refresh()
        assert sorted(found.repository("cifar10").versions) == [2, 3]
        (folder / ".away").rename(folder / str(version))
        found.refresh()
        assert sorted(found.repository("cifar10").versions) == [2, 3]
    shutil.rmtree(folder / "3")
    found.refresh()
    assert found.find().version == 3
    found.refresh()
    assert sorted(found.repository("cifar10").versions) == [1, 2]


def test_a_folder_that_cannot_be_read_changes_nothing(models: Path) -> None:
    publish(models, 1, color_bundle())
    publish(models, 1, FRENCH_BUNDLE, name="french")
    found = folder_of(models)
    found.refresh()
    models.rename(models.with_name("unmounted"))
    for _ in range(3):
        found.refresh()
        assert [repository.name for repository in found.repositories()] == ["cifar10", "french"]
        assert found.find("french").version == 1


def test_a_thousand_models_are_looked_at_quickly(models: Path) -> None:
    for number in range(1000):
        path = models / f"model-{number}" / "1" / "model.onnx"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"garbage")
    found = folder_of(models)
    found.refresh()
    assert len(found.repositories()) == 1001
    times = []
    for _ in range(3):
        begin = time.process_time()
        found.refresh()
        times.append(time.process_time() - begin)
    assert min(times) < 0.2


def test_no_answer_fails_or_is_mixed_up_while_everything_changes(start_server: StartServer, models: Path) -> None:
    """Odd versions know the usual names, even ones the French; each name belongs to one of them alone."""
    bundles = {1: color_bundle(), 0: FRENCH_BUNDLE}
    publish(models, 1, bundles[1])
    publish(models, 1, bundles[1], name="steady")
    server = start_server("--versions", "2", "--poll-interval", "0.05")
    wait_until_loaded(server, 1, name="steady")
    stop = threading.Event()
    wrong: list[str] = []
    versions: set[int] = set()

    def keep_asking(query: str, may_be_gone: bool) -> None:
        with httpx.Client(timeout=20) as client:
            while not stop.is_set():
                answer = client.post(f"{server.url}/predict{query}", content=RED, headers={"Content-Type": "image/png"})
                if answer.status_code == 200:
                    document = answer.json()
                    version = document["model"]["version"]
                    versions.add(version)
                    right = "red" if version % 2 else "rouge"
                    if document["label"] != right or len(document["probabilities"]) != 3:
                        wrong.append(answer.text)
                elif not (may_be_gone and answer.status_code in (404, 503)):
                    wrong.append(answer.text)

    asked = [("", False), ("", False), ("?model=steady", False), ("?version=2", True), ("?model=passing", True)]
    clients = [threading.Thread(target=keep_asking, args=each) for each in asked]
    for client in clients:
        client.start()
    for version in range(2, 10):
        path = publish(models, version, bundles[version % 2])
        wait_until_loaded(server, version, version - 1)
        server.wait_for(partial(versions.__contains__, version))
        replace(path, b"garbage" if version % 3 else bundles[version % 2])
        publish(models, version, bundles[version % 2], name="passing")
        publish(models, 1000 + version, os.urandom(1000))
        if version % 4 == 0:
            shutil.rmtree(models / "passing")
            server.wait_for(lambda: "passing" not in listed(server))
        shutil.rmtree(models / "cifar10" / str(1000 + version))
    shutil.rmtree(models / "cifar10" / "9")
    server.wait_for(lambda: ask(server).json()["model"]["version"] < 9)
    stop.set()
    for client in clients:
        client.join()
    assert wrong == []
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Exception during initialization: std::bad_alloc, {} bytes"),
        RuntimeError("Failed to allocate memory for requested buffer of size {}"),
        RuntimeError("CUDA failure 2: out of memory ; GPU=0 ; hostname=a ; expr=cudaMalloc((void**)&p, {}); "),
        RuntimeError("CUBLAS failure 3: the resource allocation failed ; GPU=0 ; expr={}"),
        MemoryError("std::bad_alloc {}"),
        MemoryError(),
    ],
    ids=repr,
)
def test_a_version_is_tried_again_after_memory_was_short(
    models: Path, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish(models, 1, color_bundle())
    found = folder_of(models)
    looks = 0

    def fail(*_: object, **__: object) -> None:
        nonlocal looks
        looks += 1
        raise type(error)(*(str(text).format(1000 * looks) for text in error.args))

    with monkeypatch.context() as patch:
        patch.setattr("onnxruntime.InferenceSession", fail)
        for _ in range(3):
            found.refresh()
    assert looks == 3
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["Refused cifar10 version 1"]
    with pytest.raises(NotReady):
        found.find()
    found.refresh()
    assert found.find().version == 1
