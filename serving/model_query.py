"""What a request names, in ``?model=NAME&version=NUMBER&top=COUNT`` or in its path -> the classifier that answers."""

import re
from typing import NamedTuple

from starlette.datastructures import QueryParams

from serving.classifier import Classifier
from serving.models import Models
from serving.repository import VERSION_NAME, UnknownModel
from serving.setting_values import MODEL_NAME

PARAMETERS = [
    {
        "name": "model",
        "in": "query",
        "description": "Name of the model; without it the server's default one.",
        "schema": {"type": "string", "pattern": f"^{MODEL_NAME.pattern}$"},
    },
    {
        "name": "version",
        "in": "query",
        "description": "Its version; without it the highest one that is loaded.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
    },
    {
        "name": "top",
        "in": "query",
        "description": "Answer with the probabilities of so many classes, the most probable first; without it of all.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 10**6 - 1},
    },
]
"""For OpenAPI."""


TOP = re.compile(r"[1-9][0-9]{0,5}")


class MalformedQuery(Exception):
    """The query does not say what is meant; the text is one sentence."""


class Asked(NamedTuple):
    classifier: Classifier
    top: int | None
    """Of how many classes the probabilities are wanted; None: of all."""


def read_query(models: Models, query: bytes) -> Asked:
    """Return the model that a request's query names, and how much of its answer; other parameters are ignored.

    Raises MalformedQuery, and whatever Models.find raises.
    """
    if not query:
        return Asked(models.find(), None)
    parameters = QueryParams(query)
    for name in ("model", "version", "top"):
        if len(parameters.getlist(name)) > 1:
            raise MalformedQuery(f"The query names {name!r} more than once.")
    version = parameters.get("version")
    if version is not None and not VERSION_NAME.fullmatch(version):
        raise MalformedQuery(f"The version must be a whole number from 1, not {version[:100]!r}.")
    top = parameters.get("top")
    if top is not None and not TOP.fullmatch(top):
        raise MalformedQuery(f"The number of classes, 'top', must be a whole number from 1, not {top[:100]!r}.")
    classifier = models.find(parameters.get("model"), int(version) if version is not None else None)
    return Asked(classifier, int(top) if top is not None else None)


def named_model(models: Models, name: str, version: str | None = None) -> Classifier:
    """Return the model of a path; its highest loaded version where none is named. Raises what Models.find does."""
    if version is None:
        return models.find(name)
    if not VERSION_NAME.fullmatch(version):
        raise UnknownModel(f"A model's version is a whole number from 1, not {version[:100]!r}.")
    return models.find(name, int(version))
