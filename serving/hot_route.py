"""POST /predict past the framework: the shortest way for the route that is nearly all of the traffic.

FastAPI describes the route and answers every other method of it; its routing, request and response objects would cost a
small picture as much again as decoding it does.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.problems import answer_error


class HotRoute:
    """ASGI middleware, the innermost: hands requests of one method and path to `endpoint`."""

    def __init__(self, app: ASGIApp, method: str, path: str, endpoint: ASGIApp) -> None:
        self._app, self._method, self._path, self._endpoint = app, method, path, endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != self._method:
            await self._app(scope, receive, send)
            return
        try:
            await self._endpoint(scope, receive, send)
        except Exception as error:
            # The endpoint sends nothing before it has its whole answer.
            await answer_error(error)(scope, receive, send)
