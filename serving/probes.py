"""GET /healthz and /readyz: should the process be started again, and should it be sent requests?"""

from typing import Any

from fastapi import FastAPI

from serving.models import Models
from serving.pipeline import Pipeline
from serving.predictions import Alive, ModelVersion, Ready
from serving.problems import problem_descriptions


def add_probes(app: FastAPI, models: Models, pipeline: Pipeline) -> None:
    """Add the probes; those of the Open Inference Protocol are among its own routes."""

    @app.get(
        "/healthz",
        summary="Is the process alive, and does it answer pictures?",
        response_model=Alive,
        responses=problem_descriptions(503),
    )
    @app.head("/healthz", include_in_schema=False)
    async def healthz() -> Any:
        pipeline.check_alive()
        return Alive()

    @app.get(
        "/readyz",
        summary="Is the default model loaded and warmed up, and does it answer?",
        response_model=Ready,
        responses=problem_descriptions(503),
    )
    @app.head("/readyz", include_in_schema=False)
    async def readyz() -> Any:
        served = models.find()
        pipeline.check_alive()
        return Ready(model=ModelVersion(name=served.name, version=served.version))
