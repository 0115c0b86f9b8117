"""The address that the server listens on, taken before anything slow begins: a taken port is noticed at once."""

import errno
import logging
import socket

from serving.settings import UsageError

logger = logging.getLogger(__name__)


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket that is bound to the address, and does not listen yet. Raises UsageError.

    ``shared``: other sockets of this user that are shared too may be bound to the same address (SO_REUSEPORT); the
    kernel divides the connections among those that listen.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} on {host} is in use; stop what uses it or choose another --port.") from None
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror}.") from None
    return listener


def reserve(host: str, port: int) -> socket.socket:
    """Like ``bind`` with ``shared``, but only where nobody else has the address, not even to share."""
    with bind(host, port) as alone:
        chosen = int(alone.getsockname()[1])
    return bind(host, chosen, shared=True)


def url_of(host: str, listener: socket.socket) -> str:
    """Return the address as a browser on this machine takes it."""
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def say_where(url: str) -> None:
    """Log the address, and a command that works."""
    logger.info("Listening on %s; try: curl -F file=@picture.png %s/predict", url, url)
