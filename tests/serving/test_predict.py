"""POST /predict over real sockets: both forms, and every way to get it wrong."""

import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serving.bundles import color_bundle, color_probabilities, publish
from tests.serving.pictures import BLUE, GREEN, RED, encode, flat
from tests.serving.running_server import Server


def problem(response: httpx.Response, status: int) -> str:
    """Check that an answer is a problem document of this status; return its sentence."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["status"] == status
    assert document["type"]
    assert document["title"]
    detail = document["detail"]
    assert isinstance(detail, str)
    assert detail.endswith(".")
    assert "/site-packages" not in detail
    return detail


def form(server: Server, *files: tuple[str, tuple[Any, ...]], **fields: str) -> httpx.Response:
    return server.client.post(server.url + "/predict", files=list(files), data=fields)


@pytest.mark.parametrize(("data", "label", "class_id"), [(RED, "red", 0), (GREEN, "green", 1), (BLUE, "blue", 2)])
def test_both_forms_give_the_answer_of_the_contract(server: Server, data: bytes, label: str, class_id: int) -> None:
    raw = server.post(data)
    assert raw.status_code == 200
    assert raw.headers["content-type"] == "application/json"
    answer = raw.json()
    assert list(answer) == ["label", "class_id", "confidence", "probabilities", "model"]
    assert (answer["label"], answer["class_id"]) == (label, class_id)
    assert list(answer["probabilities"]) == ["red", "green", "blue"]
    assert answer["confidence"] == max(answer["probabilities"].values()) == answer["probabilities"][label]
    assert answer["model"] == {"name": "cifar10", "version": 1}
    assert form(server, ("file", ("p.png", data, "image/png"))).json() == answer


def test_the_probabilities_are_the_models(server: Server) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    probabilities = list(server.post(encode(pixels)).json()["probabilities"].values())
    assert np.allclose(probabilities, color_probabilities(pixels), atol=1e-5)
    assert all(math.isfinite(p) for p in probabilities)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_every_format_is_read_whatever_the_content_type_says(server: Server, kind: str) -> None:
    data = encode(flat((30, 200, 20), (200, 100)), kind)
    for content_type in (f"image/{kind.lower()}", "image/tiff", "application/octet-stream", "IMAGE/PNG; a=b"):
        assert server.post(data, Content_Type=content_type).json()["label"] == "green"
    assert form(server, ("file", ("picture", data, "text/plain"))).json()["label"] == "green"


def test_a_body_without_a_content_type_is_looked_at(server: Server) -> None:
    response = server.client.post(server.url + "/predict", content=RED)
    assert "content-type" not in response.request.headers
    assert response.json()["label"] == "red"


def test_other_fields_of_a_form_are_ignored(server: Server) -> None:
    response = form(server, ("file", ("p.png", RED, "image/png")), ("other", ("q.png", BLUE, "image/png")), note="x")
    assert response.json()["label"] == "red"


def test_chunked_uploads_are_read(server: Server) -> None:
    response = server.post(iter([RED[:50], RED[50:60], RED[60:]]))
    assert response.request.headers["transfer-encoding"] == "chunked"
    assert response.json()["label"] == "red"


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", "text/plain", "multipart/form-data"])
def test_an_empty_body_is_400(server: Server, content_type: str) -> None:
    assert "no body" in problem(server.post(b"", Content_Type=content_type), 400)


def test_an_empty_chunked_body_is_400(server: Server) -> None:
    assert "no body" in problem(server.post(iter([])), 400)


def test_forms_that_do_not_name_one_picture_are_400(server: Server) -> None:
    picture = ("p.png", RED, "image/png")
    assert "no field 'file'" in problem(form(server, ("picture", picture)), 400)
    assert "empty file" in problem(form(server, ("file", ("p.png", b"", "image/png"))), 400)
    assert "2 fields 'file'" in problem(form(server, ("file", picture), ("file", picture)), 400)
    assert "as text" in problem(form(server, ("other", picture), file="p.png"), 400)
    many = [(f"field{n}", picture) for n in range(150)]
    assert "more than 100 fields" in problem(form(server, *many), 400)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"no boundary at all"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nab',
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nbad header\r\n\r\nab\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "y" * 1000, b"--y\r\n"),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
    ],
)
def test_broken_forms_are_400(server: Server, content_type: str, body: bytes) -> None:
    problem(server.post(body, Content_Type=content_type), 400)


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/json", "application/x-www-form-urlencoded", "multipart/mixed; boundary=x"],
)
def test_a_type_that_is_no_pictures_is_415_and_says_what_to_send(server: Server, content_type: str) -> None:
    assert "'Content-Type: image/png'" in problem(server.post(RED, Content_Type=content_type), 415)


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM"])
def test_a_picture_of_a_kind_that_is_not_read_is_415(server: Server, kind: str) -> None:
    data = encode(flat((1, 2, 3)), kind)
    assert "PNG, JPEG, WebP, GIF and BMP are." in problem(server.post(data, Content_Type="image/png"), 415)
    assert "PNG, JPEG, WebP, GIF and BMP are." in problem(form(server, ("file", ("p", data, "image/png"))), 415)


@pytest.mark.parametrize("data", [b"not a picture", RED[:60], RED[:-4], b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(1000)])
def test_what_is_no_intact_picture_is_422(server: Server, data: bytes) -> None:
    problem(server.post(data), 422)
    problem(form(server, ("file", ("p.png", data, "image/png"))), 422)


def test_the_pixel_limit_can_be_set_and_is_exact(start_server: Any, models: Path) -> None:
    limited = start_server("--max-pixels", "1000", "--max-body-bytes", "100000")
    publish(models, 1, color_bundle())
    limited.wait_for(lambda: limited.get("/readyz").status_code == 200)
    assert limited.post(encode(flat((200, 0, 0), (40, 25)))).status_code == 200
    assert "0.001 megapixels" in problem(limited.post(encode(flat((200, 0, 0), (143, 7)))), 413)


def test_curl_posts_as_the_ready_line_says(server: Server, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(BLUE)
    command = re.search(r"try: (curl .+)", server.log)
    assert command
    said = subprocess.run(
        ["sh", "-c", command[1]], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True
    )
    assert json.loads(said.stdout)["label"] == "blue"


def test_errors_of_http_itself_are_problems_too(server: Server) -> None:
    assert "nothing at /nowhere" in problem(server.get("/nowhere"), 404)
    wrong_method = server.get("/predict")
    problem(wrong_method, 405)
    assert wrong_method.headers["allow"] == "POST"
