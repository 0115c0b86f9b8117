"""HTML from templates: one file, its style inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from training.files import write_atomically
from training.report import numbers

_ENVIRONMENT = Environment(
    loader=PackageLoader("training.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {
    "percent": numbers.percent,
    "count": numbers.count,
    "confidence": numbers.confidence,
    "moment": numbers.moment,
}


def write_page(path: Path, template: str, content: Mapping[str, Any]) -> Path:
    """Writes the page atomically. Raises UserError where it can't be written."""
    text = _ENVIRONMENT.get_template(template).render(content)
    write_atomically(path, lambda file: file.write(text.encode()))
    return path
