"""What the endpoints work with."""

from dataclasses import dataclass

from serving.metrics import Metrics
from serving.models import Models
from serving.pipeline import Pipeline
from serving.settings import Settings
from serving.upload_memory import UploadMemory


@dataclass(frozen=True)
class Services:
    """One of each, for all of a process's requests."""

    settings: Settings
    models: Models
    metrics: Metrics
    pipeline: Pipeline
    uploads: UploadMemory
