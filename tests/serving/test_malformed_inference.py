"""Inference requests that are wrong, too large or too slow, sent without a client's help."""

import gzip
import json
import socket
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import RED
from tests.serving.running_server import Server, StartServer
from tests.serving.test_hostile_pictures import MOST_SECONDS, processor_seconds
from tests.serving.test_routes import labels, scrape

MODEL = "cifar10"
ONE = {"name": "images", "shape": [1, 32, 32, 3], "datatype": "UINT8"}


def infer(server: Server, content: bytes, **headers: str) -> httpx.Response:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return server.client.post(f"{server.url}/v2/models/{MODEL}/infer", content=content, headers=named)


def error(response: httpx.Response, status: int) -> str:
    """Check that an answer is an error of the protocol and a problem document; return its sentence."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert document["status"] == status
    assert document["title"]
    assert document["error"] == document["detail"]
    assert document["error"].endswith(".")
    return str(document["error"])


def as_json(*, data: Any = None, **members: Any) -> bytes:
    tensor = ONE if data is None else {**ONE, "data": data}
    return json.dumps({"inputs": [{**tensor, **members}]}).encode()


ZEROS = [0] * 3072
BINARY = as_json(parameters={"binary_data_size": 3072})


@pytest.mark.parametrize(
    ("content", "headers", "sentence"),
    [
        (b"", {}, "no body"),
        (b"{", {}, "Invalid JSON"),
        (RED, {"Content_Type": "image/png"}, "Invalid JSON"),
        (b"[]", {}, "should be an object"),
        (b"{}", {}, "inputs: Field required"),
        (b'{"inputs": {}}', {}, "inputs: Input should be a valid array"),
        (b'{"inputs": [' + b"1," * 8_000 + b"1]}", {}, "inputs.0: "),
        (b"[" * 10_000, {}, "recursion limit"),
        (b'{"inputs": [{"data": [0' + b",0" * 10_000, {}, "Invalid JSON: EOF"),
        (as_json(data=ZEROS) + b"}", {}, "Invalid JSON: trailing"),
        (b'"data": [0], ' * 10_000, {}, "more than 8 members 'data'"),
        (as_json(data=ZEROS, parameters={"data": [1]}), {}, "Only the input may have a list named 'data'"),
        (as_json(data="0, 0"), {}, "must be a list of whole numbers"),
        (as_json(data=0), {}, "must be a list of whole numbers"),
        (as_json(data={"b64": ""}), {}, "must be a list of whole numbers"),
        (b'{"id": 5, "inputs": []}', {}, "id: Input should be a valid string"),
        (as_json(shape=["1", 32, 32, 3], data=ZEROS), {}, "inputs.0.shape.0: "),
        (as_json(shape=[1] * 1000, data=ZEROS), {}, "inputs.0.shape: "),
        (as_json(shape=[-1, 32, 32, 3], data=ZEROS), {}, "inputs.0.shape.0: "),
        (as_json(shape=[2**70, 32, 32, 3], data=ZEROS), {}, "inputs.0.shape.0: "),
        (as_json(shape=[2**63, 32, 32, 3], data=ZEROS), {}, "N from 1 to 64, not [9223372036854775808, 32, 32, 3]"),
        (as_json(shape=[], data=ZEROS), {}, "not []"),
        (as_json(), {}, "either data or the parameter binary_data_size"),
        (as_json(data=ZEROS, parameters={"binary_data_size": 3072}), {}, "either data or"),
        (as_json(data=ZEROS[1:]), {}, "has 3071 numbers, but its shape takes 3072"),
        (as_json(data=[]), {}, "has 0 numbers"),
        (as_json(data=[ZEROS]), {}, "flat, or nested as its shape says"),
        (as_json(data=[[[[0] * 32] * 3] * 32]), {}, "flat, or nested as its shape says"),
        (as_json(data=[[0] * 1536] * 2), {}, "flat, or nested as its shape says"),
        (as_json(data=ZEROS).replace(b"0, 0]", b"0,, 0]"), {}, "flat, or nested as its shape says"),
        (as_json(data=[[[[0] * 3] * 32] * 32]).replace(b"0]]]", b"]]0]"), {}, "flat, or nested as its shape says"),
        (
            as_json(data=[[[[0] * 3] * 32] * 32]).replace(b"[[[[0, ", b"[[0[[, "),
            {},
            "flat, or nested as its shape says",
        ),
        (as_json(data=ZEROS).replace(b"0, 0]", b"0 0]"), {}, "no comma between them"),
        (as_json(data=ZEROS[1:]).replace(b"0, 0]", b"0 1, 0]"), {}, "no comma between them"),
        (as_json(data=ZEROS).replace(b"0, 0]", b"0, 00]"), {}, "whole numbers from 0 to 255"),
        (as_json(data=[*ZEROS[1:], 256]), {}, "whole numbers from 0 to 255"),
        (as_json(data=[*ZEROS[1:], 1255]), {}, "whole numbers from 0 to 255"),
        (as_json(data=[*ZEROS[1:], -1]), {}, "whole numbers from 0 to 255"),
        (as_json(data=[*ZEROS[1:], 10**40]), {}, "whole numbers from 0 to 255"),
        (as_json(data=[*ZEROS[1:], 0.5]), {}, "whole numbers from 0 to 255"),
        (as_json(data=[*ZEROS[1:], "0"]), {}, "whole numbers from 0 to 255"),
        (as_json(data=[*ZEROS[1:], None]), {}, "whole numbers from 0 to 255"),
        (as_json(data=[*ZEROS[1:], True]), {}, "whole numbers from 0 to 255"),
        (as_json(data=[*ZEROS[1:], [0]]), {}, "flat, or nested as its shape says"),
        (as_json(data=[*ZEROS[1:], {"a": 0}]), {}, "whole numbers from 0 to 255"),
        (as_json(data=ZEROS) + bytes(5), {"Inference_Header_Content_Length": str(len(as_json(data=ZEROS)))}, "are 5"),
        (BINARY + bytes(3071), {"Inference_Header_Content_Length": str(len(BINARY))}, "but there are 3071"),
        (BINARY + bytes(3073), {"Inference_Header_Content_Length": str(len(BINARY))}, "but there are 3073"),
        (BINARY, {}, "3072 bytes are to follow the JSON, but there are 0"),
        (BINARY + bytes(3072), {}, "Invalid JSON"),
        (BINARY, {"Inference_Header_Content_Length": str(len(BINARY) + 1)}, f"from 1 to {len(BINARY)}, not "),
        (BINARY, {"Inference_Header_Content_Length": "0"}, "not '0'"),
        (BINARY, {"Inference_Header_Content_Length": "-5"}, "not '-5'"),
        (BINARY, {"Inference_Header_Content_Length": "1e3"}, "not '1e3'"),
        (as_json(shape=[2, 32, 32, 3], parameters={"binary_data_size": 0}), {}, "takes 6144 bytes, not 0"),
        (b"no gzip", {"Content_Encoding": "gzip"}, "not compressed with gzip"),
        (gzip.compress(as_json(data=ZEROS))[:-9], {"Content_Encoding": "gzip"}, "ends before its gzip data"),
        (gzip.compress(as_json(data=ZEROS)) * 2, {"Content_Encoding": "gzip"}, "goes on after the end"),
    ],
)
def test_malformed_bodies(server: Server, content: bytes, headers: dict[str, str], sentence: str) -> None:
    assert sentence in error(infer(server, content, **headers), 400)


def test_sizes_are_limited_before_they_cost_anything(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--max-batch-bytes", "20000000")
    began = processor_seconds(server)
    for encoding, bomb in (("gzip", gzip.compress(bytes(200_000_000), 1)), ("deflate", zlib.compress(bytes(10**8), 1))):
        assert "more than the 20000000 bytes" in error(infer(server, bomb, Content_Encoding=encoding), 413)
    assert "2500000 bytes, more than the 1982464" in error(infer(server, b"[" * 2_500_000), 413)
    assert "more than 16384 bytes besides" in error(infer(server, b"[" * 1_500_000), 413)
    announced = infer(server, BINARY + bytes(3_000_000), Inference_Header_Content_Length="2100000")
    assert "send tensors as binary data" in error(announced, 413)
    assert "25000000 bytes, more than the 20000000" in error(infer(server, bytes(25_000_000)), 413)
    assert "'br' is not read" in error(infer(server, BINARY, Content_Encoding="br"), 415)
    assert processor_seconds(server) - began < MOST_SECONDS


def test_a_slow_upload_is_ended(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--upload-timeout", "0.3")
    head = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head + b"{")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"error": "The body did not arrive within 0.3 seconds."' in answer


def test_a_full_queue_is_said_at_once(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--max-queue", "4")
    content = as_json(shape=[5, 32, 32, 3], data=ZEROS * 5)
    answer = infer(server, content)
    assert "0 pictures are waiting already, of 4" in error(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert infer(server, as_json(data=ZEROS)).status_code == 200
    assert scrape(server)["inference_refused_total", labels()] == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nowhere", 404),
        ("GET", f"/v2/models/{MODEL}/stats", 404),
        ("GET", "/v2/models/none", 404),
        ("GET", f"/v2/models/{MODEL}/versions/{'9' * 5000}", 404),
        ("GET", f"/v2/models/{MODEL}/versions/٣", 404),
        ("GET", f"/v2/models/{MODEL}/infer", 405),
        ("POST", f"/v2/models/{MODEL}", 405),
        ("DELETE", "/v2", 405),
    ],
)
def test_every_error_has_the_member_error(server: Server, method: str, path: str, status: int) -> None:
    error(server.client.request(method, server.url + path), status)


def test_errors_elsewhere_are_problem_documents_alone(server: Server) -> None:
    answer = server.get("/v2x")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "error" not in answer.json()
