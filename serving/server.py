"""A run of the server: address, provider, model, uvicorn, and a graceful end."""

import errno
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from serving.app import create_app
from serving.batcher import Batcher
from serving.bundle import FILE_NAME
from serving.http_protocol import limited_protocol
from serving.metrics import Metrics
from serving.providers import CUDA, Provider, choose_provider
from serving.repository import ModelRepository, NotReady
from serving.settings import Settings, UsageError

logger = logging.getLogger(__name__)

# Longer than the idle time of common load balancers (60 s): they must not send on what closes here.
KEEP_ALIVE_SECONDS = 75


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises UsageError when the settings cannot be kept."""
    _configure_logging(settings.log_level)
    if not settings.models_dir.is_dir():
        raise UsageError(
            f"the models folder {str(settings.models_dir)!r} does not exist; "
            "create it or name another with --models-dir."
        )
    with _bind(settings.host, settings.port) as listener:
        provider = _provider(settings.require_cuda)
        repository = ModelRepository(settings.models_dir, settings.model, provider, settings.inference_threads)
        repository.refresh()
        metrics = Metrics(repository)
        with (
            repository.watching(settings.poll_interval),
            Batcher(metrics.batches, settings.max_queue, settings.max_pixels, settings.inference_threads) as batcher,
        ):
            config = _uvicorn_config(settings, create_app(settings, repository, metrics, batcher))
            _Server(config, lambda: _say_where(settings, repository, listener)).run(sockets=[listener])
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


def _uvicorn_config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=limited_protocol(settings.head_timeout),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=settings.log_level in ("debug", "info"),
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        # uvicorn takes whole seconds.
        timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout)),
    )


def _configure_logging(level: str) -> None:
    logging.basicConfig(
        format="%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        level=level.upper(),
        force=True,
    )
    # uvicorn tells of its every step; only what goes wrong is news.
    logging.getLogger("uvicorn.error").setLevel("DEBUG" if level == "debug" else "WARNING")
    logging.getLogger("PIL").setLevel("WARNING")


def _bind(host: str, port: int) -> socket.socket:
    """Take the address before anything slow begins, so that a taken port is noticed at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} on {host} is in use; stop what uses it or choose another --port.") from None
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror}.") from None
    return listener


def _provider(require_cuda: bool) -> Provider:
    provider, why_not_cuda = choose_provider()
    if require_cuda and provider.name != CUDA:
        raise UsageError(f"CUDA is required, but {why_not_cuda}.")
    logger.info("Inference with %s%s", provider.name, f" ({why_not_cuda})" if why_not_cuda else "")
    return provider


def _say_where(settings: Settings, repository: ModelRepository, listener: socket.socket) -> None:
    """Log the address, and a command that works."""
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(settings.host, settings.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    try:
        repository.require()
    except NotReady as reason:
        folder = settings.models_dir / settings.model
        logger.warning("%s Waiting for %s/<version>/%s; /readyz says 503 until then.", reason, folder, FILE_NAME)
    logger.info("Listening on %s; try: curl -F file=@picture.png %s/predict", url, url)
