"""A model's outputs -> the answer to an inference request (with Triton's extensions for binary data and classes)."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.classifier import Classifier
from serving.open_inference.messages import InferenceAnswer, OutputTensor, OutputTensorParameters
from serving.open_inference.request import Inference, WantedOutput


class Answer(NamedTuple):
    body: bytes
    json_length: int | None
    """Where binary data follow the JSON."""


def encode_answer(
    classifier: Classifier, inference: Inference, probabilities: NDArray[np.float32], labels: NDArray[np.int64]
) -> Answer:
    """Encode probabilities [N, classes] and labels [N], as far as they are wanted."""
    names = classifier.metadata.class_names
    tensors, contents = [], []
    for wanted in inference.outputs:
        if wanted.classes:
            tensor, content = _classification(wanted, probabilities, names)
        elif wanted.name == "probabilities":
            tensor, content = _tensor(wanted, "FP32", probabilities.astype("<f4", copy=False))
        else:
            tensor, content = _tensor(wanted, "INT64", labels.astype("<i8", copy=False))
        tensors.append(tensor)
        contents.append(content)
    answer = InferenceAnswer(
        model_name=classifier.name, model_version=str(classifier.version), id=inference.id or None, outputs=tensors
    )
    head = answer.model_dump_json(exclude_none=True).encode()
    has_binary = any(wanted.binary for wanted in inference.outputs)
    return Answer(b"".join([head, *contents]), len(head) if has_binary else None)


def _tensor(
    wanted: WantedOutput, datatype: str, values: NDArray[np.float32] | NDArray[np.int64]
) -> tuple[OutputTensor, bytes]:
    if wanted.binary:
        return _after_the_json(wanted, datatype, values.shape, values.tobytes())
    return _in_the_json(wanted, datatype, values.shape, values.ravel().tolist())


def _classification(
    wanted: WantedOutput, probabilities: NDArray[np.float32], names: Sequence[str]
) -> tuple[OutputTensor, bytes]:
    """The most probable classes as ``value:index:name``, one picture after the other."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, : wanted.classes]
    texts = [
        f"{row[index]:f}:{index}:{names[index]}"
        for row, indices in zip(probabilities.tolist(), best.tolist(), strict=True)
        for index in indices
    ]
    if wanted.binary:
        elements = [text.encode() for text in texts]
        content = b"".join(struct.pack("<I", len(element)) + element for element in elements)
        return _after_the_json(wanted, "BYTES", best.shape, content)
    return _in_the_json(wanted, "BYTES", best.shape, texts)


def _in_the_json(
    wanted: WantedOutput, datatype: str, shape: Sequence[int], values: list[float] | list[int] | list[str]
) -> tuple[OutputTensor, bytes]:
    tensor = OutputTensor(name=wanted.name, datatype=datatype, shape=list(shape))
    tensor.data = values  # not checked one by one, as it would be above
    return tensor, b""


def _after_the_json(
    wanted: WantedOutput, datatype: str, shape: Sequence[int], content: bytes
) -> tuple[OutputTensor, bytes]:
    parameters = OutputTensorParameters(binary_data_size=len(content))
    return OutputTensor(name=wanted.name, datatype=datatype, shape=list(shape), parameters=parameters), content
