"""Metrics, probes, the page and the interface's description."""

import math
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.metrics_endpoint import prefers_json
from tests.serving.bundles import CLASSES, color_bundle, metadata, publish
from tests.serving.pictures import BLUE, RED
from tests.serving.running_server import Server, StartServer

Labels = frozenset[tuple[str, str]]


def scrape(server: Server) -> dict[tuple[str, Labels], float]:
    response = server.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def labels(**pairs: str) -> Labels:
    return frozenset(pairs.items())


def test_metrics_state_the_models_accuracy_and_origin(server: Server) -> None:
    samples = scrape(server)
    identity = {"model": "cifar10", "version": "1"}
    assert samples["model_eval_accuracy", labels(**identity, split="test")] == 0.8253
    assert samples["model_version_serving", labels(**identity)] == 1
    for name in CLASSES:
        assert samples["model_eval_class_accuracy", labels(**identity, split="test", label=name)] == 0.8253
    info = next(dict(pairs) for name, pairs in samples if name == "model_info")
    stated = metadata()
    assert info["dataset"] == "synthetic"
    assert info["recipe"] == "tutorial"
    assert info["step"] == "60000"
    assert info["weights_sha256"] == stated["weights_sha256"]
    assert info["source_revision"] == stated["source_revision"]
    assert info["provider"] in ("CPUExecutionProvider", "CUDAExecutionProvider")
    assert samples["inference_provider_info", labels(provider=info["provider"])] == 1
    assert samples["process_resident_memory_bytes", labels()] > 0


def test_metrics_count_every_outcome_once(start_server: StartServer, models: Path) -> None:
    server = start_server()
    assert server.post(RED).status_code == 503
    publish(models, 1, color_bundle())
    server.wait_for(lambda: server.get("/readyz").status_code == 200)
    for content, content_type, status in (
        (RED, "image/png", 200),
        (RED, "image/png", 200),
        (BLUE, "image/png", 200),
        (b"", "image/png", 400),
        (RED, "text/plain", 415),
        (b"x", "image/png", 422),
        (bytes(5_000_001), "image/png", 413),
    ):
        assert server.post(content, Content_Type=content_type).status_code == status
    assert server.get("/predict").status_code == 405
    samples = scrape(server)
    counted = {dict(pairs)["status"]: n for (name, pairs), n in samples.items() if name == "predict_requests_total"}
    assert counted == {"200": 3, "400": 1, "405": 1, "413": 1, "415": 1, "422": 1, "500": 0, "503": 1}
    assert samples["predictions_total", labels(model="cifar10", label="red")] == 2
    assert samples["predictions_total", labels(model="cifar10", label="blue")] == 1
    assert samples["predict_request_duration_seconds_count", labels()] == 9
    buckets = [n for (name, _), n in samples.items() if name == "predict_request_duration_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 9


def test_metrics_as_json_are_the_bundles_facts(server: Server) -> None:
    response = server.get("/metrics", headers={"Accept": "application/json"})
    assert response.headers["content-type"] == "application/json"
    facts = response.json()
    assert (facts["name"], facts["version"], facts["input_shape"]) == ("cifar10", 1, [None, 32, 32, 3])
    assert facts["refused_versions"] == []
    assert set(facts["metadata"]) == {*metadata(), "quantization"}
    assert facts["metadata"]["class_names"] == list(CLASSES)
    assert facts["metadata"]["eval_pictures"] == 10000
    assert facts["metadata"]["recipe"] == {"name": "tutorial", "batch_size": 128}


def test_openmetrics_is_given_to_those_who_ask(server: Server) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    response = server.get("/metrics", headers={"Accept": accept})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", True),
        ("APPLICATION/JSON; charset=utf-8", True),
        ("application/json, */*", True),
        ("application/json;q=0.5, */*;q=0.8", False),
        ("text/plain, application/json", False),
        ("text/plain;q=0.5, application/json;q=0.9", True),
        ("text/html, application/json;q=0.9, */*;q=0.8", True),
        ("application/json;q=0", False),
        ("application/json;q=high", False),
        ("application/*", False),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", False),
        (",;,;q=,", False),
    ],
)
def test_accept_is_weighed(accept: str, json: bool) -> None:
    assert prefers_json(accept) is json


def test_probes_answer_get_and_head(server: Server) -> None:
    assert server.get("/healthz").json() == {"status": "alive"}
    assert server.get("/readyz").json() == {"status": "ready", "model": {"name": "cifar10", "version": 1}}
    for path in ("/healthz", "/readyz", "/metrics", "/models", "/models/cifar10", "/models/cifar10/1", "/"):
        response = server.client.head(server.url + path)
        assert response.status_code == 200
        assert response.content == b""


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/readyz", "GET, HEAD"), ("/models/cifar10", "GET, HEAD"), ("/predict", "POST"), ("/predict/batch", "POST")],
)
def test_every_allowed_method_is_named(server: Server, path: str, allowed: str) -> None:
    refused = server.client.request("DELETE", server.url + path)
    assert refused.status_code == 405
    assert refused.headers["allow"] == allowed
    assert refused.json()["detail"] == f"DELETE is not allowed here; allowed: {allowed}."


def test_the_page_stands_alone(server: Server) -> None:
    response = server.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert '<input id="pick" type="file"' in response.text
    assert "Choose pictures" in response.text
    assert not re.search(r"""(src|href)=["'](https?:)?//""", response.text)
    icon = server.get("/favicon.ico")
    assert icon.status_code == 200
    assert icon.headers["content-type"] == "image/svg+xml"


def test_the_description_is_read_without_a_network(server: Server) -> None:
    page = server.get("/docs").text
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(links) >= 3
    assert all(link.startswith("/") for link in links)
    for link in links:
        assert server.get(link).status_code == 200


def test_the_description_matches_the_behaviour(server: Server) -> None:
    description = server.get("/openapi.json").json()
    predict = description["paths"]["/predict"]["post"]
    content = predict["requestBody"]["content"]
    assert {"multipart/form-data", "image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"} <= set(content)
    answer = description["components"]["schemas"]["Prediction"]
    assert set(answer["required"]) == set(server.post(RED).json())
    assert {parameter["name"] for parameter in predict["parameters"]} == {"model", "version", "top"}
    assert set(predict["responses"]) == {"200", "400", "404", "408", "413", "415", "422", "500", "503"}
    problem = server.post(b"x").json()
    for status in set(predict["responses"]) - {"200"}:
        schema = predict["responses"][status]["content"]["application/problem+json"]["schema"]
        assert set(schema["required"]) == set(problem)
    assert {"/predict", "/predict/batch", "/models", "/metrics", "/healthz", "/readyz"} <= set(description["paths"])


def test_class_names_of_any_alphabet_come_through(start_server: StartServer, models: Path) -> None:
    names = ('rouge "vif"', "緑", "\\blue\n")
    publish(models, 1, color_bundle(properties=metadata(names)))
    server = start_server()
    assert server.post(RED).json()["label"] == names[0]
    assert list(server.post(RED).json()["probabilities"]) == list(names)
    assert scrape(server)["predictions_total", labels(model="cifar10", label=names[0])] == 2
    assert not math.isnan(scrape(server)["process_start_time_seconds", labels()])
