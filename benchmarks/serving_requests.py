"""One picture as the servers want to be asked for it, and their answers in one form."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

BOUNDARY = "----boundary"


class Answer(NamedTuple):
    label: str
    probabilities: list[float]


@dataclass(frozen=True)
class Request:
    """A POST that is sent again and again."""

    path: str
    content_type: str
    body: bytes
    read: Callable[[Any], list[Answer]]
    """The answers in what came back as JSON, one a picture."""
    pictures: int = 1


def make_picture() -> bytes:
    """A PNG of noise, 32x32: incompressible, so 3 KB, a fifth more than one of CIFAR-10's."""
    written = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(written, "PNG")
    return written.getvalue()


def raw(path: str, picture: bytes) -> Request:
    """The picture is the body."""
    return Request(path, "image/png", picture, _one)


def form(path: str, picture: bytes, field: str = "file", read: Callable[[Any], list[Answer]] | None = None) -> Request:
    """multipart/form-data with one file."""
    return Request(path, f"multipart/form-data; boundary={BOUNDARY}", _form(picture, field, 1), read or _one)


def batch(path: str, picture: bytes, pictures: int) -> Request:
    """Many files in one form; ours."""

    def read(answer: Any) -> list[Answer]:
        return [_answer(each["prediction"]) for each in answer["predictions"]]

    body = _form(picture, "file", pictures)
    return Request(path, f"multipart/form-data; boundary={BOUNDARY}", body, read, pictures)


def open_inference(path: str, picture: bytes) -> Request:
    """The Open Inference Protocol's JSON, the picture in base64."""
    data = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(picture).decode()]}
    body = {"inputs": [data | {"parameters": {"content_type": "base64"}}]}
    return Request(path, "application/json", json.dumps(body).encode(), _outputs)


def listed(answer: Any) -> list[Answer]:
    """A JSON array of answers."""
    return [_answer(each) for each in answer]


def _one(answer: Any) -> list[Answer]:
    return [_answer(answer)]


def _answer(answer: Any) -> Answer:
    return Answer(answer["label"], list(answer["probabilities"].values()))


def _outputs(answer: Any) -> list[Answer]:
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    return [Answer(outputs["label"][0], outputs["probabilities"])]


def _form(picture: bytes, field: str, copies: int) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\n'
    part = f"{head}Content-Type: image/png\r\n\r\n".encode() + picture + b"\r\n"
    return part * copies + f"--{BOUNDARY}--\r\n".encode()
