"""From a run's averaged weights to a published bundle: export, check against PyTorch, measure, publish."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from training.accuracy import Accuracy, count
from training.bundle import FORMAT_VERSION, Bundle, Publisher, with_metadata
from training.dataset import Dataset, Split
from training.errors import ExportFailed, UserError
from training.evaluation import averaged_network, newest_checkpoint
from training.inference import pictures_at_once
from training.network import Network
from training.onnx_model import ServedModel, to_onnx
from training.provenance import libraries, now
from training.quantization import check_accuracy, description, to_int8
from training.recipe import Recipe
from training.run_directory import RunDirectory
from training.say import Say, announce
from training.temperature import calibrate
from training.triton_config import write_triton_config

CHECKED_BATCHES = (1, 3, 64)  # pictures; the number is free in the graph
CPU = torch.device("cpu")
TOLERANCE = 1e-4  # between PyTorch's and onnxruntime's probabilities


def export(
    run_dir: RunDirectory,
    dataset: Dataset,
    models_dir: Path,
    name: str | None = None,
    quantize: str | None = None,
    say: Say = announce,
) -> Bundle:
    """Publishes the run's newest checkpoint as the next version of the model, and returns that.

    `name` is the model's; None: the data set's. `quantize` is "int8" or None. Weights that are the newest version
    already, in the same type and measured on the same pictures, are not published twice: it is returned. Raises
    ExportFailed where the bundle does not compute what PyTorch computes, or in int8 is too inaccurate; UserError where
    there is no checkpoint or no room, and where the newest version has other classes and nobody named the model.
    """
    publisher = Publisher(models_dir, dataset.name if name is None else name)
    checkpoint, state = newest_checkpoint(run_dir)
    network = averaged_network(state, len(dataset.class_names), CPU)
    weights_sha256 = _weights_sha256(network)
    superseded = publisher.newest()
    if superseded and name is None:
        _check_classes(superseded, dataset)
    if superseded and _holds(superseded, weights_sha256, quantize, dataset):
        say(f"These weights are published already: {superseded.path}.")
        write_triton_config(superseded, say)
        return superseded

    say(f"Exporting the {'averaged weights' if network.recipe.ema_decay else 'weights'} of step {checkpoint.step}.")
    calibrate(network, dataset.test, CPU)
    graph, accuracy = _checked(network, dataset, say)
    metadata = {"temperature": str(network.temperature)} if network.recipe.calibrated else {}
    if quantize:
        graph, accuracy, metadata["quantization"] = _in_int8(graph, accuracy, network, dataset, say)
    metadata |= {
        **_description(run_dir, dataset, accuracy, network.recipe),
        "step": str(checkpoint.step),
        "weights_sha256": weights_sha256,
    }
    bundle = publisher.publish(with_metadata(graph, metadata))
    say(f"Published {bundle.path}.")
    write_triton_config(bundle, say)
    if superseded:
        _warn_of_lower_accuracy(bundle, superseded, accuracy, say)
    return bundle


def _checked(network: Network, dataset: Dataset, say: Say) -> tuple[onnx.ModelProto, Accuracy]:
    """The graph, which computes what PyTorch computes, and what it recognizes of the test split."""
    model = ServedModel(network)
    graph = to_onnx(model, dataset.test.images.shape[-1])
    session = _session(with_metadata(graph, {}))
    _check_against_pytorch(session, model, dataset.test)
    accuracy = _measure(session, dataset, network.recipe)
    say(_told(accuracy, "through onnxruntime"))
    return graph, accuracy


def _in_int8(
    graph: onnx.ModelProto, in_float32: Accuracy, network: Network, dataset: Dataset, say: Say
) -> tuple[onnx.ModelProto, Accuracy, str]:
    """The same in int8, and how that was made; `in_float32` is what `graph` recognizes."""
    weights = [f"network.{name}" for name in network.quantized_weights()]
    quantized = to_int8(graph, dataset.train, weights)
    accuracy = _measure(_session(with_metadata(quantized, {})), dataset, network.recipe)
    say(_told(accuracy, "in int8"))
    check_accuracy(in_float32, accuracy)
    return quantized, accuracy, description(in_float32, dataset.train, weights)


def _check_classes(superseded: Bundle, dataset: Dataset) -> None:
    # Two folders may be called alike, and a server would change from the pictures of one to those of the other.
    classes = superseded.metadata().get("class_names")
    if classes is not None and set(json.loads(classes)) != set(dataset.class_names):
        model = superseded.path.parents[1].name
        raise UserError(
            f"{superseded.path} knows other classes; add --name {model} to supersede it nevertheless, or --name and "
            "another name."
        )


def _holds(bundle: Bundle, weights_sha256: str, quantize: str | None, dataset: Dataset) -> bool:
    metadata = bundle.metadata()
    return (
        metadata.get("weights_sha256") == weights_sha256
        and ("quantization" in metadata) == (quantize is not None)
        and metadata.get("class_names") == json.dumps(dataset.class_names)
        and metadata.get("eval_data_sha256") == dataset.test.sha256()
    )


def _told(accuracy: Accuracy, how: str) -> str:
    correct, pictures = sum(accuracy.correct), sum(accuracy.pictures)
    return f"Precision @ 1 {how}: {accuracy.overall:.4f} ({correct} of {pictures} test pictures)."


def _weights_sha256(network: Network) -> str:
    digest = hashlib.sha256()
    for values in network.state_dict().values():
        if values.is_floating_point():
            digest.update(values.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, images: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """uint8 [N, 3, H, W] -> probabilities [N, classes] and labels [N]."""
    probabilities, labels = session.run(
        ["probabilities", "label"], {"images": images.permute(0, 2, 3, 1).contiguous().numpy()}
    )
    return probabilities, labels


def _check_against_pytorch(session: onnxruntime.InferenceSession, model: ServedModel, split: Split) -> None:
    for batch in CHECKED_BATCHES:
        images = split.images[:batch]
        probabilities, labels = _run(session, images)
        with torch.inference_mode():
            expected, expected_labels = model(images.permute(0, 2, 3, 1))
        difference = float(np.abs(probabilities - expected.numpy()).max())
        differing = int((labels != expected_labels.numpy()).sum())
        if not difference <= TOLERANCE or differing:
            raise ExportFailed(
                f"onnxruntime and PyTorch disagree at batch {batch}: probabilities by {difference:.1e} (allowed is "
                f"{TOLERANCE:.0e}), top-1 on {differing} pictures; nothing was published."
            )


def _measure(session: onnxruntime.InferenceSession, dataset: Dataset, recipe: Recipe) -> Accuracy:
    labels = [_run(session, images)[1] for images in dataset.test.images.split(pictures_at_once(recipe))]
    return count(torch.from_numpy(np.concatenate(labels)), dataset.test.labels, len(dataset.class_names))


def _description(run_dir: RunDirectory, dataset: Dataset, accuracy: Accuracy, recipe: Recipe) -> dict[str, str]:
    """The metadata that models/README.md names, but for what the weights themselves decide."""
    return {
        "format_version": FORMAT_VERSION,
        "dataset": dataset.name,
        "class_names": json.dumps(dataset.class_names),
        "eval_accuracy": str(accuracy.overall),
        "eval_per_class_accuracy": json.dumps(accuracy.per_class(dataset.class_names)),
        "eval_split": "test",
        "eval_pictures": str(sum(accuracy.pictures)),
        "eval_data_sha256": dataset.test.sha256(),
        "recipe": json.dumps(recipe.as_dict()),
        "ema_decay": str(recipe.ema_decay),
        "source_revision": run_dir.trained()["source_revision"],
        "libraries": json.dumps(libraries(["torch", "onnx", "onnxscript", "onnxruntime-gpu", "numpy"])),
        "created": now(),
    }


def _warn_of_lower_accuracy(bundle: Bundle, superseded: Bundle, accuracy: Accuracy, say: Say) -> None:
    before = superseded.metadata().get("eval_accuracy")
    if before is not None and float(before) > accuracy.overall:
        say(
            f"Version {superseded.version}, which it supersedes, was more accurate ({float(before):.4f} against "
            f"{accuracy.overall:.4f}). To go back: rm -r {shlex.quote(str(bundle.path.parent))}"
        )
