"""Reads one model bundle (format version 1) and refuses it with a sentence unless all of it is as promised.

The file is not trusted: it is read within a size limit, onnxruntime gets its bytes rather than its path,
and data outside of the file is refused.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import onnxruntime
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    PositiveInt,
    ValidationError,
    model_validator,
)

from serving.providers import CPU, Provider

FILE_NAME = "model.onnx"
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_SIDE = 1024
# From one operator of the network to the next: waking a thread takes longer than most of them.
LONE_SPIN_MICROSECONDS = 20
# What onnxruntime says where memory is short or the GPU fails, whatever the file.
PASSING_FAILURE = re.compile(
    r"bad_alloc|out of memory|failed to allocate|available memory|CU(DA|DNN|BLAS) (failure|error) \d+|CU(DNN|BLAS)_\w+",
    re.IGNORECASE,
)

Accuracy = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A class's name may be a folder's, and no file system has longer ones.
NonEmpty = Annotated[str, Field(min_length=1, max_length=255)]
FileState = tuple[int, int, int, int]


@dataclass(frozen=True)
class Threads:
    """How many threads divide a run on a CPU."""

    batch: int
    lone: int
    """For a picture that comes alone, when the other processors have nothing to do."""


ONE_THREAD = Threads(batch=1, lone=1)


class BundleError(Exception):
    """The bundle is refused; the text says why, in one sentence, without a path."""


class BundleUnreadable(BundleError):
    """The bundle cannot be loaded at the moment, and may be at the next look.

    Its file cannot be read, or is being written, or memory is short, or the GPU fails.
    """


class Quantization(BaseModel):
    """In which type the weights are; models/README.md lists what else a bundle says of it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: NonEmpty


class Metadata(BaseModel):
    """The bundle's metadata_props, parsed from their strings."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format_version: Literal["1"]
    dataset: NonEmpty
    class_names: Json[tuple[NonEmpty, ...]]
    eval_accuracy: Accuracy
    eval_per_class_accuracy: Json[dict[str, Accuracy]]
    eval_split: NonEmpty
    eval_pictures: PositiveInt
    eval_data_sha256: Sha256
    recipe: Json[dict[str, Any]]
    step: Annotated[int, Field(ge=0)]
    ema_decay: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    weights_sha256: Sha256
    source_revision: NonEmpty
    libraries: Json[dict[str, str]]
    created: AwareDatetime
    quantization: Json[Quantization] | None = None
    """None where the weights are float32."""

    @model_validator(mode="after")
    def _consistent(self) -> "Metadata":
        if len(set(self.class_names)) != len(self.class_names):
            raise ValueError("class_names has the same name twice")
        if not set(self.eval_per_class_accuracy) <= set(self.class_names):
            raise ValueError("eval_per_class_accuracy names a class that class_names does not")
        if not isinstance(self.recipe.get("name"), str):
            raise ValueError("recipe has no name")
        return self


@dataclass(frozen=True)
class Bundle:
    """A validated bundle: its session is ready to run.

    Input ``images`` is uint8 [N, height, width, 3]; outputs are ``probabilities`` float32 [N, classes] and
    ``label`` int64 [N].
    """

    session: onnxruntime.InferenceSession
    lone_session: onnxruntime.InferenceSession
    """For a picture that comes alone; the same session where there are no threads of its own for it."""
    height: int
    width: int
    metadata: Metadata


def file_state(path: Path) -> FileState:
    """Tell one content of a file from another: device, inode, size and time of the last change."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_bundle(path: Path, provider: Provider, threads: Threads = ONE_THREAD) -> Bundle:
    """Read and validate ``path`` for ``provider``; on a CPU each run is divided among ``threads``.

    Raises BundleUnreadable when another look may go better, BundleError when this content will never do.
    """
    data = _read_file(path)
    session = _open_session(data, provider, threads.batch)
    lone_session = session
    if provider.name == CPU and threads.lone > threads.batch:
        lone_session = _open_session(data, provider, threads.lone, LONE_SPIN_MICROSECONDS)
    with _onnxruntime_refusals():
        inputs = [(node.name, node.type, node.shape) for node in session.get_inputs()]
        outputs = [(node.name, node.type, node.shape) for node in session.get_outputs()]
        properties = dict(session.get_modelmeta().custom_metadata_map)
    height, width = _check_inputs(inputs)
    classes = _check_outputs(outputs)
    metadata = _parse_metadata(properties)
    if len(metadata.class_names) != classes:
        raise BundleError(
            f"class_names has {len(metadata.class_names)} names, but probabilities has {classes} columns."
        )
    return Bundle(session, lone_session, height, width, metadata)


def _read_file(path: Path) -> bytes:
    """Read a regular file of bounded size that nobody writes meanwhile."""
    try:
        # O_NONBLOCK: opening a named pipe would otherwise wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise BundleError(f"{FILE_NAME} is not a regular file.")
            if before.st_size > MAX_FILE_BYTES:
                raise BundleError(f"{FILE_NAME} has {before.st_size} bytes, more than the {MAX_FILE_BYTES} allowed.")
            data = file.read(before.st_size + 1)
            after = os.fstat(descriptor)
    except OSError as error:
        raise BundleUnreadable(f"{FILE_NAME} cannot be read: {error.strerror}.") from None
    if len(data) != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
        raise BundleUnreadable(f"{FILE_NAME} is still being written.")
    return data


def _open_session(
    data: bytes, provider: Provider, threads: int, spin_microseconds: int = 0
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the processor from the event loop and from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin_microseconds else "0")
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(spin_microseconds))
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Data outside of the file is looked up in a folder that cannot exist. Without this, a model given as
    # bytes may read any file below the working directory.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    with _onnxruntime_refusals():
        # Falling back would print, and would go on with the CPU when a run on the GPU fails.
        session = onnxruntime.InferenceSession(data, options, providers=provider.session_argument, enable_fallback=0)
    if session.get_providers()[0] != provider.name:
        raise BundleError(f"onnxruntime would not run it with {provider.name}.")
    return session


def refusal(error: Exception, what_happened: str) -> BundleError:
    """Say what onnxruntime's own error means for the bundle.

    It is a BundleUnreadable where memory or the GPU failed, whose text is the same at every look: without the numbers.
    """
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    passing = PASSING_FAILURE.search(text)
    if passing or isinstance(error, MemoryError):
        return BundleUnreadable(f"{what_happened} at the moment ({passing[0] if passing else 'out of memory'}).")
    return BundleError(f"{what_happened}: {text[:300]}")


@contextmanager
def _onnxruntime_refusals() -> Iterator[None]:
    """Turn whatever onnxruntime raises into a BundleError; its exceptions share no class but Exception."""
    try:
        yield
    except Exception as error:
        if re.search(r"external", str(error), re.IGNORECASE):
            raise BundleError("it keeps data outside of the file, which is never read.") from None
        raise refusal(error, "onnxruntime cannot load it") from None


def _check_inputs(inputs: list[tuple[str, str, list[Any]]]) -> tuple[int, int]:
    """Return height and width of ``images``."""
    if len(inputs) != 1 or inputs[0][:2] != ("images", "tensor(uint8)"):
        raise BundleError(f"its one input must be images, tensor(uint8), but it has {_named(inputs)}.")
    shape = inputs[0][2]
    if len(shape) != 4 or isinstance(shape[0], int) or shape[3] != 3:
        raise BundleError(f"images must have the shape [N, height, width, 3] with N free, not {shape}.")
    height, width = shape[1], shape[2]
    if not (isinstance(height, int) and isinstance(width, int) and 1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise BundleError(f"images must have a fixed height and width from 1 to {MAX_SIDE}, not {shape}.")
    return height, width


def _check_outputs(outputs: list[tuple[str, str, list[Any]]]) -> int:
    """Return the number of classes."""
    if [output[:2] for output in outputs] != [("probabilities", "tensor(float)"), ("label", "tensor(int64)")]:
        raise BundleError(
            f"its outputs must be probabilities, tensor(float), and label, tensor(int64), but it has {_named(outputs)}."
        )
    (_, _, probabilities), (_, _, label) = outputs
    if len(probabilities) != 2 or isinstance(probabilities[0], int) or not isinstance(probabilities[1], int):
        raise BundleError(f"probabilities must have the shape [N, classes] with N free, not {probabilities}.")
    if len(label) != 1 or isinstance(label[0], int):
        raise BundleError(f"label must have the shape [N] with N free, not {label}.")
    return probabilities[1]


def _parse_metadata(properties: dict[str, str]) -> Metadata:
    try:
        return Metadata.model_validate(properties)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "missing":
            raise BundleError(f"its metadata has no {first['loc'][0]}.") from None
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise BundleError(f"its metadata is wrong: {place + ': ' if place else ''}{message}.") from None


def _named(nodes: list[tuple[str, str, list[Any]]]) -> str:
    return ", ".join(f"{name} {kind} {shape}" for name, kind, shape in nodes) or "none"
