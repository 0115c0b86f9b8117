"""The body of an inference request -> the pictures and the wanted outputs (Open Inference Protocol, and Triton's
binary tensor data extension)."""

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from serving.open_inference.json_numbers import MAX_OTHER_BYTES, NOT_BYTES, read_bytes, without_data
from serving.open_inference.messages import InferenceRequest, InputTensor, RequestedOutput
from serving.settings import MAX_PICTURES
from serving.upload import BodyTooLarge, MalformedUpload

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_NUMBER_BYTES = 10  # of the JSON for each number: room for any way of writing MAX_PICTURES of the model's size
OUTPUTS = ("probabilities", "label")


@dataclass(frozen=True)
class WantedOutput:
    name: str
    binary: bool
    classes: int
    """Of the most probable ones, as strings; 0: the tensor itself."""


@dataclass(frozen=True)
class Inference:
    """What a request asks for. ``images`` is uint8 [N, height, width, 3], N from 1 to MAX_PICTURES."""

    id: str
    images: NDArray[np.uint8]
    outputs: list[WantedOutput]


def parse_inference(body: bytes, header_length: str | None, picture_size: tuple[int, int]) -> Inference:
    """Parse a body whose first ``header_length`` bytes are JSON, all of it where there is no such header.

    Raises MalformedUpload where it does not fit a model for pictures of this (height, width), BodyTooLarge where the
    JSON is too long.
    """
    length = _json_length(header_length, len(body))
    most = MAX_OTHER_BYTES + MAX_NUMBER_BYTES * MAX_PICTURES * math.prod(picture_size) * 3
    if length > most:
        raise BodyTooLarge(
            f"The request's JSON has {length} bytes, more than the {most} allowed; send tensors as binary data."
        )
    text, lists = without_data(body if length == len(body) else body[:length])
    try:
        request = InferenceRequest.model_validate_json(text)
    except ValidationError as error:
        raise MalformedUpload(_told(error)) from None
    images = _images(request, lists, memoryview(body)[length:], picture_size)
    return Inference(request.id, images, _outputs(request))


def _json_length(header_length: str | None, body_length: int) -> int:
    if not body_length:
        raise MalformedUpload("The request has no body; send an inference request as JSON.")
    if header_length is None:
        return body_length
    if not re.fullmatch(r"[0-9]{1,18}", header_length) or not 0 < int(header_length) <= body_length:
        raise MalformedUpload(
            f"{HEADER_LENGTH} must be the number of bytes of the body's JSON, from 1 to {body_length}, "
            f"not {header_length[:100]!r}."
        )
    return int(header_length)


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"The body is no inference request: {place + ': ' if place else ''}{first['msg']}."


def _images(
    request: InferenceRequest, lists: list[bytes], binary: memoryview, picture_size: tuple[int, int]
) -> NDArray[np.uint8]:
    names = [tensor.name for tensor in request.inputs]
    if names != ["images"]:
        found = ", ".join(repr(name[:100]) for name in names) or "none"
        raise MalformedUpload(f"The model has one input, 'images', but the request has {found}.")
    tensor = request.inputs[0]
    if tensor.datatype != "UINT8":
        raise MalformedUpload(f"The input 'images' has the datatype UINT8, not {tensor.datatype[:100]!r}.")
    pictures, *size = tensor.shape or [0]
    if size != [*picture_size, 3] or not 1 <= pictures <= MAX_PICTURES:
        shape = f"[N, {picture_size[0]}, {picture_size[1]}, 3]"
        raise MalformedUpload(
            f"The input 'images' has the shape {shape} with N from 1 to {MAX_PICTURES}, not {tensor.shape}."
        )
    return _content(tensor, lists, binary).reshape(tensor.shape)


def _content(tensor: InputTensor, lists: list[bytes], binary: memoryview) -> NDArray[np.uint8]:
    """Return as many numbers as the shape says."""
    if tensor.parameters.shared_memory_region is not None:
        raise MalformedUpload("There is no shared memory; send the data of 'images' in the request.")
    stated, size = tensor.parameters.binary_data_size, math.prod(tensor.shape)
    if (stated is None) == (tensor.data is None):
        raise MalformedUpload("The input 'images' needs either data or the parameter binary_data_size.")
    if (stated or 0) != len(binary):
        raise MalformedUpload(f"{stated or 0} bytes are to follow the JSON, but there are {len(binary)}.")
    if len(lists) > (tensor.data is not None):
        raise MalformedUpload("Only the input may have a list named 'data'.")
    if tensor.data is not None:
        # An index that `without_data` put there; who sends one means the same.
        if type(tensor.data) is not int or not lists:
            raise MalformedUpload(NOT_BYTES)
        return read_bytes(lists[0], tensor.shape)
    if stated != size:
        raise MalformedUpload(f"The input 'images' of the shape {tensor.shape} takes {size} bytes, not {stated}.")
    return np.frombuffer(binary, np.uint8)


def _outputs(request: InferenceRequest) -> list[WantedOutput]:
    asked = request.outputs or [RequestedOutput(name=name) for name in OUTPUTS]
    names = [output.name for output in asked]
    for name in names:
        if name not in OUTPUTS:
            raise MalformedUpload(f"The model has no output {name[:100]!r}, only 'probabilities' and 'label'.")
        if names.count(name) > 1:
            raise MalformedUpload(f"The output {name!r} is asked for more than once.")
    return [_wanted(output, request.parameters.binary_data_output) for output in asked]


def _wanted(output: RequestedOutput, binary: bool) -> WantedOutput:
    parameters = output.parameters
    if parameters.shared_memory_region is not None:
        raise MalformedUpload(f"There is no shared memory; {output.name!r} comes back in the answer.")
    if parameters.classification and output.name != "probabilities":
        raise MalformedUpload(f"The output {output.name!r} has no classes; ask for those of 'probabilities'.")
    is_binary = binary if parameters.binary_data is None else parameters.binary_data
    return WantedOutput(output.name, is_binary, parameters.classification)
