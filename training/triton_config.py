"""What NVIDIA Triton wants beside the versions of a model: config.pbtxt and labels.txt.

The messages are those of Triton's model_config.proto. Where max_batch_size is above 0 its onnxruntime backend takes
dimensions without the number of pictures, but no empty list of them: an output that has no other dimension is said to
have one of 1, which `reshape` takes away again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnx

from training.bundle import Bundle
from training.errors import UserError
from training.files import write_atomically
from training.say import Say

CONFIG = "config.pbtxt"
LABELS = "labels.txt"
MAX_BATCH = 64  # pictures
VERSIONS = 4  # that Triton keeps loaded, the highest ones

_TYPES: dict[int, str] = {
    onnx.TensorProto.UINT8: "TYPE_UINT8",
    onnx.TensorProto.FLOAT: "TYPE_FP32",
    onnx.TensorProto.INT64: "TYPE_INT64",
}


def write_triton_config(bundle: Bundle, say: Say) -> None:
    """Writes both files for what this version takes and gives; `say` is told where they stay as a person made them.

    Raises UserError where they can't be read or written.
    """
    graph = onnx.load_model(bundle.path, load_external_data=False).graph
    labels = "".join(f"{' '.join(name.split())}\n" for name in json.loads(bundle.metadata()["class_names"])).encode()
    config = _config(graph).encode()
    folder = bundle.path.parent.parent
    config_there, labels_there = _read(folder / CONFIG), _read(folder / LABELS)
    if config_there is not None and not _is_ours(config_there, labels_there):
        say(f"{folder / CONFIG} was made by hand and stays as it is.")
        return
    if (config_there, labels_there) != (_marked(config, labels), labels):
        write_atomically(folder / LABELS, lambda file: file.write(labels))
        write_atomically(folder / CONFIG, lambda file: file.write(_marked(config, labels)))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make it readable or remove it.") from error


def _marked(config: bytes, labels: bytes) -> bytes:
    """Puts a first line before a configuration by which it is known again."""
    digest = hashlib.sha256(config + labels).hexdigest()
    mark = f"# export keeps this file and {LABELS} up to date as long as nobody changes them: {digest}\n"
    return mark.encode() + config


def _is_ours(config: bytes, labels: bytes | None) -> bool:
    return config == _marked(config.partition(b"\n")[2], labels or b"")


def _config(graph: onnx.GraphProto) -> str:
    """The configuration but for its first line. Without a name: Triton takes the folder's."""
    lines = [
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {MAX_BATCH}",
        f"version_policy {{ latest {{ num_versions: {VERSIONS} }} }}",
        "dynamic_batching { }",
        *(line for tensor in graph.input for line in _tensor("input", tensor)),
        *(line for tensor in graph.output for line in _tensor("output", tensor)),
    ]
    return "".join(f"{line}\n" for line in lines)


def _tensor(kind: str, tensor: onnx.ValueInfoProto) -> list[str]:
    described = tensor.type.tensor_type
    dimensions = [str(dimension.dim_value) for dimension in described.shape.dim[1:]]
    return [
        f"{kind} {{",
        f'  name: "{tensor.name}"',
        f"  data_type: {_TYPES[described.elem_type]}",
        f"  dims: [ {', '.join(dimensions) or '1'} ]",
        *([] if dimensions else ["  reshape { shape: [ ] }"]),
        *([f'  label_filename: "{LABELS}"'] if tensor.name == "probabilities" else []),
        "}",
    ]
