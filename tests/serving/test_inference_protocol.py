"""The Open Inference Protocol, asked by NVIDIA's client as it is on PyPI."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from google.protobuf import json_format
from starlette.types import Message
from tritonclient.grpc import model_config_pb2
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from serving.bundle import ONE_THREAD
from serving.metrics import Metrics
from serving.models import Models
from serving.open_inference.answer import Answer, encode_answer
from serving.open_inference.infer_endpoint import InferEndpoint
from serving.pipeline import Pipeline
from serving.providers import CPU, Provider
from serving.services import Services
from serving.settings import Settings
from serving.upload_memory import UploadMemory
from tests.serving.bundles import (
    CLASSES,
    brightness_bundle,
    color_bundle,
    color_probabilities,
    metadata,
    no_number_for_white,
    publish,
)
from tests.serving.pictures import encode, flat
from tests.serving.running_server import Server, StartServer
from tests.serving.test_malformed_inference import MODEL, ZEROS, as_json, error, infer
from tests.serving.test_routes import labels, scrape

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def client_of(server: Server, **options: Any) -> InferenceServerClient:
    return InferenceServerClient(server.url.removeprefix("http://"), **options)


@pytest.fixture
def client(server: Server) -> Iterator[InferenceServerClient]:
    with client_of(server, concurrency=4) as client:
        yield client


def images(pixels: np.ndarray[Any, Any] = IMAGES, *, binary: bool = True) -> list[InferInput]:
    tensor = InferInput("images", list(pixels.shape), "UINT8")
    return [tensor.set_data_from_numpy(pixels, binary_data=binary)]


def refused(client: InferenceServerClient, *arguments: Any, **options: Any) -> tuple[str, str]:
    """The status of an inference that fails, and the sentence."""
    with pytest.raises(InferenceServerException) as caught:
        client.infer(*arguments, **options)
    return caught.value.status(), caught.value.message()


def test_server(client: InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    told = client.get_server_metadata()
    assert told["name"]
    assert {"binary_tensor_data", "classification"} <= set(told["extensions"])


def test_model(client: InferenceServerClient) -> None:
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    for model, version in (("none", ""), (MODEL, "2"), (MODEL, "0"), (MODEL, "first"), ("../cifar10", "")):
        assert not client.is_model_ready(model, version)
    told = client.get_model_metadata(MODEL)
    assert told == client.get_model_metadata(MODEL, "1")
    assert (told["name"], told["versions"], told["platform"]) == (MODEL, ["1"], "onnxruntime_onnx")
    assert told["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}]
    assert told["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
        {"name": "label", "datatype": "INT64", "shape": [-1]},
    ]
    assert told["parameters"] == {"max_batch_size": 64, "class_names": list(CLASSES)}


@pytest.mark.parametrize("version", ["", "1"])
def test_configuration_is_one_of_tritons(client: InferenceServerClient, version: str) -> None:
    told = client.get_model_config(MODEL, version)
    configuration = json_format.ParseDict(told, model_config_pb2.ModelConfig())
    assert (configuration.name, configuration.max_batch_size) == (MODEL, 64)
    assert list(configuration.input[0].dims) == [32, 32, 3]
    assert configuration.input[0].data_type == model_config_pb2.TYPE_UINT8
    assert [output.name for output in configuration.output] == ["probabilities", "label"]


@pytest.mark.parametrize("sent_binary", [True, False])
@pytest.mark.parametrize("got_binary", [True, False])
def test_answers_are_those_of_predict(
    client: InferenceServerClient, server: Server, sent_binary: bool, got_binary: bool
) -> None:
    outputs = [InferRequestedOutput(name, binary_data=got_binary) for name in ("label", "probabilities")]
    result = client.infer(MODEL, images(binary=sent_binary), outputs=outputs)
    answer = result.get_response()
    assert [output["name"] for output in answer["outputs"]] == ["label", "probabilities"]
    assert (answer["model_name"], answer["model_version"]) == (MODEL, "1")
    probabilities, label = result.as_numpy("probabilities"), result.as_numpy("label")
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (5, 3))
    assert (label.dtype, label.shape) == (np.int64, (5,))
    for index, image in enumerate(IMAGES):
        np.testing.assert_allclose(probabilities[index], color_probabilities(image), rtol=1e-5)
        predicted = server.post(encode(image)).json()
        assert predicted["class_id"] == label[index]
        assert list(predicted["probabilities"].values()) == pytest.approx(probabilities[index].tolist(), abs=1e-6)


def test_outputs_that_nobody_names_all_come(client: InferenceServerClient) -> None:
    result = client.infer(MODEL, images(), request_id="a 1/ü", model_version="1")
    assert result.get_response()["id"] == "a 1/ü"
    assert [output["name"] for output in result.get_response()["outputs"]] == ["probabilities", "label"]
    assert result.as_numpy("label").tolist() == result.as_numpy("probabilities").argmax(axis=1).tolist()
    one = client.infer(MODEL, images(), outputs=[InferRequestedOutput("label")])
    assert one.as_numpy("probabilities") is None
    assert "id" not in one.get_response()


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_classes_as_strings(client: InferenceServerClient, count: int, binary: bool) -> None:
    outputs = [InferRequestedOutput("probabilities", binary_data=binary, class_count=count)]
    found = client.infer(MODEL, images(), outputs=outputs).as_numpy("probabilities")
    assert found.shape == (5, min(count, 3))
    for row, image in zip(found, IMAGES, strict=True):
        expected = color_probabilities(image)
        order = np.argsort(-expected)[:count]
        texts = [text.decode() if isinstance(text, bytes) else text for text in row]
        assert [text.split(":")[1:] for text in texts] == [[str(index), CLASSES[index]] for index in order]
        assert [float(text.split(":")[0]) for text in texts] == pytest.approx(expected[order].tolist(), abs=1e-5)


def test_many_at_the_same_time(client: InferenceServerClient) -> None:
    expected = client.infer(MODEL, images()).as_numpy("label").tolist()
    waiting = [client.async_infer(MODEL, images(IMAGES[index : index + 1])) for index in [0, 1, 2, 3, 4] * 8]
    assert [each.get_result().as_numpy("label")[0] for each in waiting] == expected * 8


@pytest.mark.parametrize("sent", [None, "gzip", "deflate"])
@pytest.mark.parametrize("got", [None, "gzip", "deflate"])
def test_compression(client: InferenceServerClient, sent: str | None, got: str | None) -> None:
    result = client.infer(MODEL, images(), request_compression_algorithm=sent, response_compression_algorithm=got)
    assert result.as_numpy("label").shape == (5,)


def test_as_many_pictures_as_allowed(client: InferenceServerClient) -> None:
    most = np.random.default_rng(1).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    found = client.infer(MODEL, images(most)).as_numpy("probabilities")
    assert np.array_equal(found, client.infer(MODEL, images(most, binary=False)).as_numpy("probabilities"))
    one_more = np.concatenate([most, most[:1]])
    status, sentence = refused(client, MODEL, images(one_more))
    assert (status, "N from 1 to 64, not [65, 32, 32, 3]" in sentence) == ("400", True)


@pytest.mark.parametrize(("pictures", "thread"), [(4, "MainThread"), (5, "decoding_0")])
def test_a_long_answer_is_written_beside_the_event_loop(
    models: Path, monkeypatch: pytest.MonkeyPatch, pictures: int, thread: str
) -> None:
    publish(models, 1, brightness_bundle(metadata(tuple(f"class {number}" for number in range(1000)))))
    found = Models(models, MODEL, Provider(CPU), threads=ONE_THREAD, most_versions=1)
    found.load_default()
    threads: list[str] = []

    def record(*arguments: Any) -> Answer:
        threads.append(threading.current_thread().name)
        return encode_answer(*arguments)

    monkeypatch.setattr("serving.open_inference.infer_endpoint.encode_answer", record)
    answer = asyncio.run(answer_of(found, as_json(shape=[pictures, 32, 32, 3], data=ZEROS * pictures)))
    assert threads == [thread]
    assert [output["shape"] for output in answer["outputs"]] == [[pictures, 1000], [pictures]]
    assert len(answer["outputs"][0]["data"]) == 1000 * pictures


async def answer_of(models: Models, body: bytes) -> Any:
    """What the endpoint answers on this thread's event loop."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    metrics = Metrics(models)
    with Pipeline(metrics.batches, 64, 20, 1_000_000, 1) as pipeline:
        services = Services(Settings(), models, metrics, pipeline, UploadMemory(metrics.batches, 1_000_000))
        endpoint = InferEndpoint(services)
        await endpoint({"type": "http", "path_params": {"name": MODEL}, "headers": []}, receive, send)
    _, message = sent
    return json.loads(message["body"])


def test_nested_data_and_values_from_0_to_255(server: Server) -> None:
    answer = infer(server, as_json(shape=[5, 32, 32, 3], data=IMAGES.tolist()))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in answer.headers
    probabilities, label = answer.json()["outputs"]
    expected = np.array([color_probabilities(image) for image in IMAGES])
    np.testing.assert_allclose(np.reshape(probabilities["data"], probabilities["shape"]), expected, rtol=1e-5)
    assert label == {"name": "label", "datatype": "INT64", "shape": [5], "data": expected.argmax(axis=1).tolist()}


def wrong(name: str = "images", datatype: str = "UINT8", shape: tuple[int, ...] = (1, 32, 32, 3)) -> list[InferInput]:
    kinds = {"UINT8": np.uint8, "FP32": np.float32}
    tensor = InferInput(name, list(shape), datatype)
    return [tensor.set_data_from_numpy(np.zeros(shape, kinds[datatype]))]


@pytest.mark.parametrize(
    ("model", "inputs", "options", "status", "sentence"),
    [
        ("none", wrong(), {}, "404", "no model 'none'"),
        (MODEL, wrong(), {"model_version": "7"}, "404", "no version 7"),
        (MODEL, wrong(), {"model_version": "-1"}, "404", "whole number from 1, not '-1'"),
        (MODEL, wrong("pictures"), {}, "400", "one input, 'images', but the request has 'pictures'"),
        (MODEL, wrong() + wrong("mask"), {}, "400", "but the request has 'images', 'mask'"),
        (MODEL, [], {}, "400", "but the request has none"),
        (MODEL, wrong(datatype="FP32"), {}, "400", "datatype UINT8, not 'FP32'"),
        (MODEL, wrong(shape=(1, 3, 32, 32)), {}, "400", "the shape [N, 32, 32, 3] with N from 1 to 64, not [1, 3, 32"),
        (MODEL, wrong(shape=(32, 32, 3)), {}, "400", "not [32, 32, 3]"),
        (MODEL, wrong(shape=(0, 32, 32, 3)), {}, "400", "not [0, 32, 32, 3]"),
        (MODEL, wrong(), {"outputs": [InferRequestedOutput("logits")]}, "400", "no output 'logits'"),
        (
            MODEL,
            wrong(),
            {"outputs": [InferRequestedOutput("label")] * 2},
            "400",
            "'label' is asked for more than once",
        ),
        (MODEL, wrong(), {"outputs": [InferRequestedOutput("label", class_count=1)]}, "400", "'label' has no classes"),
    ],
)
def test_a_refusal_is_a_sentence(
    client: InferenceServerClient, model: str, inputs: list[InferInput], options: Any, status: str, sentence: str
) -> None:
    found, told = refused(client, model, inputs, **options)
    assert found == status
    assert sentence in told


def test_shared_memory_is_refused(client: InferenceServerClient) -> None:
    there = InferInput("images", [1, 32, 32, 3], "UINT8")
    there.set_shared_memory("region", 3072)
    assert "no shared memory" in refused(client, MODEL, [there])[1]
    back = InferRequestedOutput("label")
    back.set_shared_memory("region", 8)
    assert "no shared memory" in refused(client, MODEL, images(), outputs=[back])[1]
    with pytest.raises(InferenceServerException, match="There is nothing at /v2/systemsharedmemory/status"):
        client.get_system_shared_memory_status()


def test_versions_and_models(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    publish(models, 2, color_bundle(order=(2, 1, 0)))
    publish(models, 3, b"garbage")
    publish(models, 7, color_bundle(height=5, width=4), "small")
    server = start_server()
    with client_of(server) as client:
        server.wait_for(lambda: client.is_model_ready("small"))
        label = {
            version: client.infer(MODEL, images(), version).as_numpy("label").tolist() for version in ("1", "2", "")
        }
        assert label[""] == label["2"] == [2 - each for each in label["1"]]
        assert client.get_model_metadata(MODEL)["versions"] == ["1", "2"]
        assert client.get_model_metadata(MODEL, "1")["versions"] == ["1"]
        assert not client.is_model_ready(MODEL, "3")
        with pytest.raises(InferenceServerException, match=r"Version 3 .* was refused: onnxruntime cannot load it"):
            client.get_model_metadata(MODEL, "3")
        assert client.infer("small", images(np.zeros((2, 5, 4, 3), np.uint8))).as_numpy("label").shape == (2,)
        assert "[N, 5, 4, 3]" in refused(client, "small", images())[1]
        listed = {(each["name"], each["version"]): each for each in client.get_model_repository_index()}
        ready = [("cifar10", "1"), ("cifar10", "2"), ("small", "7")]
        assert [key for key in sorted(listed) if listed[key]["state"] == "READY"] == ready
        assert listed[MODEL, "3"]["state"] == "UNAVAILABLE"
        assert "onnxruntime cannot load it" in listed[MODEL, "3"]["reason"]
    address = f"{server.url}/v2/repository/index"
    assert len(httpx.post(address, json={"ready": True}).json()) == 3
    assert "no index request" in error(httpx.post(address, json={"ready": "yes"}), 400)
    assert "10001 bytes" in error(httpx.post(address, content=bytes(10_001)), 413)


def test_without_a_model_the_server_is_live_and_not_ready(start_server: StartServer) -> None:
    server = start_server()
    with client_of(server) as client:
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready(MODEL)
        status, sentence = refused(client, MODEL, images())
        assert (status, "has been published" in sentence) == ("503", True)
    assert "has been published" in error(server.get("/v2/health/ready"), 503)


def test_a_probability_that_is_no_number_is_never_sent(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle(change=no_number_for_white))
    server = start_server()
    with client_of(server) as client:
        status, sentence = refused(client, MODEL, images(flat((255, 255, 255))[None]))
        assert (status, "not a number" in sentence) == ("500", True)
        assert client.infer(MODEL, images()).as_numpy("label").shape == (5,)


def test_probes_may_ask_for_heads(server: Server) -> None:
    for path in ("", "/health/live", "/health/ready", f"/models/{MODEL}", f"/models/{MODEL}/versions/1/ready"):
        answer = server.client.head(f"{server.url}/v2{path}")
        assert (answer.status_code, answer.content) == (200, b"")


def test_classes_of_any_alphabet(start_server: StartServer, models: Path) -> None:
    names = ("rouge", "緑:a", '"blue"')
    publish(models, 1, color_bundle(properties=metadata(names)))
    with client_of(start_server()) as client:
        outputs = [InferRequestedOutput("probabilities", class_count=1)]
        pixels = np.stack([flat(color) for color in ((200, 0, 0), (0, 200, 0), (0, 0, 200))])
        found = client.infer(MODEL, images(pixels), outputs=outputs).as_numpy("probabilities")
    assert [text.decode().split(":", 2)[2] for text in found.ravel()] == list(names)


def test_predictions_are_counted(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    with client_of(server) as client:
        client.infer(MODEL, images(flat((200, 30, 20))[None].repeat(3, axis=0)))
    samples = scrape(server)
    assert samples["predictions_total", labels(model=MODEL, label="red")] == 3
    assert samples["inference_batch_size_sum", labels()] == 3


def test_keys_close_inference(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--api-key", "a-key-0123")
    with client_of(server) as client:
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL)
        assert client.get_model_metadata(MODEL)["name"] == MODEL
        status, sentence = refused(client, MODEL, images())
        assert (status, "needs an API key" in sentence) == ("401", True)
        assert refused(client, MODEL, images(), model_version="1")[0] == "401"
        assert client.infer(MODEL, images(), headers={"X-API-Key": "a-key-0123"}).as_numpy("label").shape == (5,)
    for path in (f"/v2/models/{MODEL}/infer%0A", f"/v2/models/{MODEL}/versions/1/infer%0A", "/predict%0A"):
        assert server.client.post(server.url + path, content=b"x").status_code == 401


def test_requests_are_counted(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    infer(server, as_json(data=ZEROS))
    infer(server, b"{}")
    samples = scrape(server)
    assert samples["predict_requests_total", labels(status="200")] == 1
    assert samples["predict_requests_total", labels(status="400")] == 1
    assert samples["predict_request_duration_seconds_count", labels()] == 2


def test_the_description_matches_the_behaviour(server: Server) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    described = {path: set(operations) for path, operations in paths.items() if path.startswith("/v2")}
    model, version = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
    asked = [f"{at}{what}" for at in (model, version) for what in ("", "/ready", "/config")]
    asked += ["/v2", "/v2/health/live", "/v2/health/ready"]
    posted = [f"{model}/infer", f"{version}/infer", "/v2/repository/index"]
    assert described == {path: {"get"} for path in asked} | {path: {"post"} for path in posted}
    operation = paths[f"{version}/infer"]["post"]
    assert {parameter["name"] for parameter in operation["parameters"]} == {
        *("name", "version", "Inference-Header-Content-Length")
    }
    assert set(operation["responses"]) == {"200", "400", "404", "408", "413", "415", "500", "503"}
    refused = infer(server, b"{}").json()
    told = operation["responses"]["400"]["content"]["application/json"]["schema"]
    assert set(told["required"]) == set(refused)
    request = operation["requestBody"]["content"]["application/json"]["schema"]
    assert request["required"] == ["inputs"]
    assert "$ref" not in json.dumps(request)
