"""The API keys that let ask for predictions: read once, when the server starts, and said how many."""

import logging
import socket
from collections.abc import Collection
from ipaddress import ip_address

from serving.setting_values import api_key
from serving.settings import Settings, UsageError

logger = logging.getLogger(__name__)


def read_keys(settings: Settings) -> frozenset[str]:
    """All API keys, of the setting and of the file; none where everybody may ask. Raises UsageError."""
    keys = {settings.api_key} - {""}
    if settings.api_key_file is None:
        return frozenset(keys)
    try:
        lines = settings.api_key_file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"the key file {str(settings.api_key_file)!r} cannot be read: {reason}.") from None
    for number, line in enumerate(lines, start=1):
        try:
            keys.add(api_key(line))
        except ValueError as error:
            raise UsageError(f"key {number} in {str(settings.api_key_file)!r} must be {error}.") from None
    if not lines:
        raise UsageError(f"the key file {str(settings.api_key_file)!r} holds no key; write one into each line.")
    return frozenset(keys)


def say_who_may_ask(listener: socket.socket, keys: Collection[str]) -> None:
    """Log whether predictions need an API key; warn where they need none and other machines may reach the address."""
    address = listener.getsockname()[0]
    if keys:
        logger.info("Predictions need an API key; keys known: %d.", len(keys))
    elif ip_address(address).is_loopback:
        logger.info("Predictions need no API key; only this machine reaches %s.", address)
    else:
        logger.warning("Predictions need no API key, and others may reach %s; --api-key-file sets keys.", address)
