"""GET /models: what the server tells of its models, all of them or one."""

from typing import Annotated

from fastapi import FastAPI, Path
from pydantic import TypeAdapter
from starlette.responses import Response

from serving.classifier import Classifier
from serving.model_query import named_model
from serving.models import Models
from serving.predictions import ListedModel, LoadedVersion, ModelFacts, RefusedVersion
from serving.problems import problem_descriptions
from serving.repository import ModelRepository

Name = Annotated[str, Path(description="Name of the model.")]
Version = Annotated[str, Path(description="Its version, a whole number.")]
_LIST = TypeAdapter(list[ListedModel])


def add_models(app: FastAPI, models: Models) -> None:
    """Add the routes below /models."""

    @app.get("/models", summary="All models and their versions", response_model=list[ListedModel])
    @app.head("/models", include_in_schema=False)
    def read_models() -> Response:
        listed = [_listed(repository, models.default) for repository in models.repositories()]
        return Response(_LIST.dump_json(listed), media_type="application/json")

    @app.get(
        "/models/{name}",
        summary="The facts of a model, of the version that answers",
        response_model=ModelFacts,
        responses=problem_descriptions(404, 503),
    )
    @app.head("/models/{name}", include_in_schema=False)
    def read_model(name: Name) -> Response:
        return Response(facts_of(models, models.find(name)), media_type="application/json")

    @app.get(
        "/models/{name}/{version}",
        summary="The facts of one version of a model",
        response_model=ModelFacts,
        responses=problem_descriptions(404, 503),
    )
    @app.head("/models/{name}/{version}", include_in_schema=False)
    def read_version(name: Name, version: Version) -> Response:
        return Response(facts_of(models, named_model(models, name, version)), media_type="application/json")


def facts_of(models: Models, classifier: Classifier) -> str:
    """ModelFacts as JSON: everything that the bundle states about itself, and which versions of its model are bad."""
    return ModelFacts(
        name=classifier.name,
        version=classifier.version,
        provider=classifier.provider.name,
        input_shape=(None, *classifier.picture_size, 3),
        metadata=classifier.metadata,
        refused_versions=_refused(models.repository(classifier.name)),
    ).model_dump_json()


def _listed(repository: ModelRepository, default: str) -> ListedModel:
    # Read once: another version may take over meanwhile.
    versions = sorted(repository.versions.values(), key=lambda classifier: classifier.version, reverse=True)
    return ListedModel(
        name=repository.name,
        is_default=repository.name == default,
        versions=[_loaded(classifier, is_serving=classifier is versions[0]) for classifier in versions],
        refused_versions=_refused(repository),
    )


def _loaded(classifier: Classifier, *, is_serving: bool) -> LoadedVersion:
    metadata = classifier.metadata
    return LoadedVersion(
        version=classifier.version,
        serving=is_serving,
        class_names=metadata.class_names,
        eval_accuracy=metadata.eval_accuracy,
        eval_split=metadata.eval_split,
        eval_pictures=metadata.eval_pictures,
        input_shape=(None, *classifier.picture_size, 3),
        recipe=metadata.recipe["name"],
        created=metadata.created,
        quantization=None if metadata.quantization is None else metadata.quantization.type,
    )


def _refused(repository: ModelRepository) -> list[RefusedVersion]:
    return [RefusedVersion(version=version, reason=reason) for version, reason in repository.refused.items()]
