"""A run of the server: address, provider, model, uvicorn, and a graceful end."""

import gc
import logging
import signal
import socket
from collections.abc import Callable, Collection
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from serving.access import Cors, SecurityHeaders
from serving.api_keys import say_who_may_ask
from serving.app import create_app
from serving.bundle import FILE_NAME, Threads
from serving.http_protocol import LimitedProtocol
from serving.listener import bind, say_where, url_of
from serving.log_format import configure_logging
from serving.log_stream import line_writer
from serving.metrics import Metrics
from serving.models import Models
from serving.open_inference.errors import ProtocolErrors
from serving.open_inference.routes import PREFIX
from serving.pipeline import Pipeline
from serving.providers import CUDA, Provider, choose_provider, has_gpu
from serving.repository import NotReady
from serving.request_log import RequestLog, access_line
from serving.services import Services
from serving.settings import Settings, UsageError
from serving.tracing import tracing
from serving.upload_memory import UploadMemory

logger = logging.getLogger(__name__)

# Longer than the idle time of common load balancers (60 s): they must not send on what closes here.
KEEP_ALIVE_SECONDS = 75


def serve(
    settings: Settings,
    keys: Collection[str],
    *,
    shared: bool = False,
    when_listening: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; raises UsageError when the settings cannot be kept.

    ``keys``: the API keys, as ``read_keys`` returns them. ``shared``: with others on the same port, whose supervisor
    says who may ask. ``when_listening`` is called with the address, instead of logging it.
    """
    configure_logging(settings.log_level, settings.log_format)
    if not settings.models_dir.is_dir():
        raise UsageError(
            f"the models folder {str(settings.models_dir)!r} does not exist; "
            "create it or name another with --models-dir."
        )
    with tracing(settings.otlp_endpoint), bind(settings.host, settings.port, shared=shared) as listener:
        if not shared:
            say_who_may_ask(listener, keys)
        provider = _provider(settings.require_cuda)
        models = Models(
            settings.models_dir,
            settings.model,
            provider,
            threads=_threads(settings.inference_threads),
            most_versions=settings.versions,
        )
        models.load_default()
        metrics = Metrics(models)
        with (
            models.watching(settings.poll_interval),
            _pipeline(settings, metrics) as pipeline,
        ):
            uploads = UploadMemory(metrics.batches, settings.max_upload_memory)
            services = Services(settings, models, metrics, pipeline, uploads)
            config = _uvicorn_config(settings, create_app(services, keys))
            # What is there to stay need not be looked through again by every garbage collection.
            gc.collect()
            gc.freeze()
            announce = when_listening or say_where
            _warn_if_empty(settings, models)
            _Server(config, lambda: announce(url_of(settings.host, listener))).run(sockets=[listener])
    logger.info("Stopped.")


class _Server(uvicorn.Server):
    """uvicorn with exit status 0 after a signal, and any second signal forcing the end."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and only then say so."""
        await super().startup(sockets)
        self._announce()

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """Begin to stop at the first signal, hurry at the second.

        uvicorn's own raises the signal again once it has stopped, which ends the process with its status.
        """
        if self.should_exit:
            self.force_exit = True
        else:
            logger.info("%s: stopping; requests under way are answered.", signal.Signals(sig).name)
        self.should_exit = True


def _pipeline(settings: Settings, metrics: Metrics) -> Pipeline:
    return Pipeline(
        metrics.batches, settings.max_queue, settings.max_wait, settings.max_pixels, settings.inference_threads
    )


def _threads(available: int) -> Threads:
    """Batches leave one thread's processor to the event loop, which decodes the next pictures meanwhile."""
    return Threads(batch=max(1, available - 1), lone=available)


def _uvicorn_config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    protocol = partial(LimitedProtocol, head_timeout=settings.head_timeout, upload_timeout=settings.upload_timeout)
    return uvicorn.Config(
        _surrounded(app, settings),
        loop="uvloop",
        http=protocol,  # type: ignore[arg-type]  # uvicorn only calls it
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        # uvicorn takes whole seconds.
        timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout)),
    )


def _surrounded(app: FastAPI, settings: Settings) -> ASGIApp:
    """What has to see the answers that FastAPI gives outside of its own middlewares too: those to its failures."""
    inside: ASGIApp = ProtocolErrors(app, prefix=PREFIX)
    if settings.cors_origins:
        inside = Cors(inside, settings.cors_origins)
    write = line_writer() if settings.log_level in ("debug", "info") else None
    return RequestLog(SecurityHeaders(inside), access_line(settings.log_format), write)


def _provider(require_cuda: bool) -> Provider:
    provider, why_not_cuda = choose_provider()
    if require_cuda and provider.name != CUDA:
        raise UsageError(f"CUDA is required, but {why_not_cuda}.")
    # Who has a GPU means to use it.
    level = logging.WARNING if why_not_cuda and has_gpu() else logging.INFO
    logger.log(level, "Inference with %s%s", provider.name, f" ({why_not_cuda})" if why_not_cuda else "")
    return provider


def _warn_if_empty(settings: Settings, models: Models) -> None:
    try:
        models.find()
    except NotReady as reason:
        folder = settings.models_dir / settings.model
        logger.warning("%s Waiting for %s/<version>/%s; /readyz says 503 until then.", reason, folder, FILE_NAME)
        if others := models.others_on_disk():
            logger.warning("To answer with another model where none is named: --model %s", " or ".join(others[:5]))
