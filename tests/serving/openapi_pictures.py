"""The pictures that schemathesis sends; schemathesis.toml names this module."""

import schemathesis
from hypothesis import strategies

from serving.picture import FORMATS
from tests.serving.pictures import encode, flat

# To OpenAPI any bytes are a picture, to the server they are not.
PICTURES = [encode(flat((200, 30, 20)), name) for name in FORMATS]

schemathesis.openapi.format("binary", strategies.sampled_from(PICTURES))
