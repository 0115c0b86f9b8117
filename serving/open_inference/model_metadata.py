"""What the Open Inference Protocol, and Triton's extensions of it, tell of the models."""

from typing import Any

from serving.classifier import Classifier
from serving.models import Models
from serving.open_inference.messages import (
    ConfiguredTensor,
    IndexedVersion,
    ModelConfiguration,
    ModelMetadata,
    ModelParameters,
    TensorMetadata,
)
from serving.settings import MAX_PICTURES

PLATFORM = "onnxruntime_onnx"  # Triton's name for what runs it


def metadata_of(classifier: Classifier, versions: list[int]) -> ModelMetadata:
    """Tell the tensors, as a client sends and gets them."""
    tensors = {
        name: TensorMetadata(name=name, datatype=datatype, shape=[-1, *dims])
        for name, datatype, dims in _tensors(classifier)
    }
    return ModelMetadata(
        name=classifier.name,
        versions=[str(version) for version in versions],
        platform=PLATFORM,
        inputs=[tensors["images"]],
        outputs=[tensors["probabilities"], tensors["label"]],
        parameters=ModelParameters(max_batch_size=MAX_PICTURES, class_names=classifier.metadata.class_names),
    )


def configuration_of(classifier: Classifier) -> ModelConfiguration:
    """Tell the same in the words of Triton's model configuration extension."""
    tensors = {
        name: ConfiguredTensor(name=name, data_type=f"TYPE_{datatype}", dims=dims)
        for name, datatype, dims in _tensors(classifier)
    }
    return ModelConfiguration(
        name=classifier.name,
        platform=PLATFORM,
        max_batch_size=MAX_PICTURES,
        input=[tensors["images"]],
        output=[tensors["probabilities"], tensors["label"]],
    )


def _tensors(classifier: Classifier) -> list[tuple[str, str, list[int]]]:
    return [
        ("images", "UINT8", [*classifier.picture_size, 3]),
        ("probabilities", "FP32", [len(classifier.metadata.class_names)]),
        ("label", "INT64", []),
    ]


def list_versions(models: Models, only_ready: bool) -> list[IndexedVersion]:
    """List every version of every model, loaded or refused."""
    found = []
    for repository in models.repositories():
        named: Any = {"name": repository.name}
        loaded, refused = repository.versions, {} if only_ready else repository.refused
        found += [IndexedVersion(**named, version=str(version), state="READY") for version in loaded]
        found += [
            IndexedVersion(**named, version=str(version), state="UNAVAILABLE", reason=reason)
            for version, reason in refused.items()
            if version not in loaded
        ]
    return found
