"""In the OpenAPI document: which operations need an API key, how it is shown, and how one without is answered."""

import re
from typing import Any

from fastapi import FastAPI

from serving.problems import problem_descriptions

# RFC 6750, section 2.1; or a header of its own. Either will do.
SCHEMES: dict[str, dict[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def describe_keys(app: FastAPI, closed: re.Pattern[str]) -> None:
    """Add the keys to what ``app`` says of itself; ``closed``: how the paths begin that need one."""
    document_without_keys = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = document_without_keys()
            described.setdefault("components", {})["securitySchemes"] = SCHEMES
            for path, operations in described["paths"].items():
                if closed.match(path):
                    for operation in operations.values():
                        operation["security"] = [{name: []} for name in SCHEMES]
                        operation["responses"] |= {"401": problem_descriptions(401)[401]}
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
