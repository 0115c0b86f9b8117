"""GET /: the page to try pictures with, and its files."""

from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

WEB = Path(__file__).parent / "web"
FILES = frozenset(file.name for file in WEB.iterdir())


def add_page(app: FastAPI) -> None:
    """Add the page, the files below /page that it is made of, and its icon."""

    @app.get("/", include_in_schema=False)
    @app.head("/", include_in_schema=False)
    def page() -> Response:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/page/{name}", include_in_schema=False)
    @app.head("/page/{name}", include_in_schema=False)
    def page_file(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404)
        return FileResponse(WEB / name, headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    def favicon() -> Response:
        return FileResponse(WEB / "favicon.svg", media_type="image/svg+xml")
