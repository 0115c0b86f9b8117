"""The app: who may ask, what is counted, and the routes."""

import re
from collections.abc import Collection

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from serving.access import ApiKeys
from serving.hot_route import HotRoute
from serving.key_description import describe_keys
from serving.metrics import PredictMeter
from serving.metrics_endpoint import add_metrics
from serving.models_endpoint import add_models
from serving.open_inference.routes import add_inference_protocol
from serving.page import add_page
from serving.predict_endpoint import PredictEndpoint
from serving.prediction_routes import add_predictions
from serving.probes import add_probes
from serving.problems import add_problem_handlers
from serving.services import Services
from serving.tracing import TraceStages, telemetry_config

HOT = {"method": "POST", "path": "/predict"}  # the route that does not go through FastAPI's router
# How paths begin: where something is predicted, and where the models are told of. What ends in /ready is a probe.
PREDICTIONS = r"/predict(?!\w)|/v2/models/.*/infer"
FACTS = r"/metrics|/models|/v2/repository|/v2/models/(?!.+/ready$)"


def create_app(services: Services, keys: Collection[str]) -> FastAPI:
    """Build the app around models that somebody else refreshes, and a pipeline that somebody else closes.

    ``keys``: any of them lets in who asks for predictions; where there is none, everybody may ask.
    """
    settings, models, metrics = services.settings, services.models, services.metrics
    app = FastAPIOffline(
        title="Picture classifier",
        version="1",
        description="Classifies pictures with the models in the folder that the server watches.",
        redoc_url=None,
        telemetry=telemetry_config(settings.otlp_endpoint),
    )
    app.add_middleware(HotRoute, **HOT, endpoint=PredictEndpoint(services))
    if keys:
        closed = f"{PREDICTIONS}|{FACTS}" if settings.protect_metrics else PREDICTIONS
        closed_paths = re.compile(closed, re.DOTALL)
        app.add_middleware(ApiKeys, keys=keys, paths=closed_paths)
        describe_keys(app, closed_paths)
    app.add_middleware(PredictMeter, paths=re.compile(PREDICTIONS, re.DOTALL), metrics=metrics)
    if settings.otlp_endpoint:
        app.add_middleware(TraceStages, **HOT)
    add_problem_handlers(app)
    add_predictions(app, services)
    add_metrics(app, models, metrics)
    add_models(app, models)
    add_probes(app, models, services.pipeline)
    add_page(app)
    add_inference_protocol(app, services)
    return app
