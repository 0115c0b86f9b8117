"""What a request names, in ``?model=NAME&version=NUMBER`` or in its path -> the classifier that answers."""

from starlette.datastructures import QueryParams

from serving.classifier import Classifier
from serving.models import Models
from serving.repository import VERSION_NAME, UnknownModel
from serving.settings import MODEL_NAME

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
]
"""For OpenAPI."""


class MalformedQuery(Exception):
    """The query does not say which model is meant; the text is one sentence."""


def asked_model(models: Models, query: bytes) -> Classifier:
    """Return the model that a request's query names; parameters of other names are ignored.

    Raises MalformedQuery, and whatever Models.find raises.
    """
    if not query:
        return models.find()
    parameters = QueryParams(query)
    for name in ("model", "version"):
        if len(parameters.getlist(name)) > 1:
            raise MalformedQuery(f"The query names {name!r} more than once.")
    version = parameters.get("version")
    if version is not None and not VERSION_NAME.fullmatch(version):
        raise MalformedQuery(f"The version must be a whole number from 1, not {version[:100]!r}.")
    return models.find(parameters.get("model"), int(version) if version is not None else None)


def named_model(models: Models, name: str, version: str | None = None) -> Classifier:
    """Return the model of a path; its highest loaded version where none is named. Raises what Models.find does."""
    if version is None:
        return models.find(name)
    if not VERSION_NAME.fullmatch(version):
        raise UnknownModel(f"A model's version is a whole number from 1, not {version[:100]!r}.")
    return models.find(name, int(version))
