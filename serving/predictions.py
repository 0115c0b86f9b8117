"""The answers of the server as JSON; the OpenAPI description is made from them."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from serving.bundle import Metadata


class ModelVersion(BaseModel):
    """Which model answered."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: Annotated[int, Field(ge=1)]


class Prediction(BaseModel):
    """The answer for one picture."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "label": "cat",
                "class_id": 3,
                "confidence": 0.91,
                "probabilities": {"airplane": 0.01, "cat": 0.91, "dog": 0.08},
                "model": {"name": "cifar10", "version": 1},
            }
        },
    )

    label: Annotated[str, Field(description="Name of the most probable class.")]
    class_id: Annotated[int, Field(ge=0, description="Index of that class.")]
    confidence: Annotated[float, Field(description="Its probability, the greatest of all.")]
    probabilities: Annotated[
        dict[str, float],
        Field(
            description="Every class's probability, in class order; with `top` those of the most probable, in theirs."
        ),
    ]
    model: ModelVersion

    def most_probable(self, count: int) -> list[tuple[str, float]]:
        """So many classes with their probabilities, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:count]

    def of_top(self, count: int | None) -> "Prediction":
        """Return the same with the probabilities of so many classes alone; of all where that is None."""
        return self if count is None else self.model_copy(update={"probabilities": dict(self.most_probable(count))})


class Problem(BaseModel):
    """A problem document, RFC 9457 section 3."""

    type: Annotated[str, Field(description="What kind of problem; about:blank where the status says it all.")]
    title: Annotated[str, Field(description="The kind of problem in words, the same at every occurrence.")]
    status: Annotated[int, Field(ge=400, le=599, description="The HTTP status code.")]
    detail: Annotated[str, Field(description="One sentence about this occurrence.")]


class PictureAnswer(BaseModel):
    """The answer for one picture of several: a prediction, or why there is none."""

    filename: Annotated[str, Field(description="As it was sent; empty where it wasn't.")]
    prediction: Prediction | None = None
    problem: Problem | None = None


class Predictions(BaseModel):
    """The answers for several pictures, in the order in which they were sent."""

    predictions: list[PictureAnswer]


class RefusedVersion(BaseModel):
    """A version on disk that is not served."""

    version: int
    reason: str


class LoadedVersion(BaseModel):
    """A version of a model that can be asked for."""

    version: Annotated[int, Field(ge=1)]
    serving: Annotated[bool, Field(description="Whether it answers those who name no version.")]
    class_names: tuple[str, ...]
    eval_accuracy: Annotated[float, Field(ge=0, le=1, description="Top-1, as its bundle states it.")]
    eval_split: str
    eval_pictures: int
    input_shape: Annotated[tuple[None, int, int, int], Field(description="uint8 [N, height, width, 3]; N is free.")]
    recipe: Annotated[str, Field(description="Name of the recipe that it was trained with.")]
    created: AwareDatetime
    quantization: Annotated[str | None, Field(description="Type of its weights, where that is not float32.")]


class ListedModel(BaseModel):
    """A model of the server's folder."""

    name: str
    is_default: Annotated[bool, Field(description="Whether it answers those who name no model.")]
    versions: Annotated[list[LoadedVersion], Field(description="The loaded ones, the highest first.")]
    refused_versions: list[RefusedVersion]


class ModelFacts(BaseModel):
    """What /metrics says of the model as JSON: everything that its bundle states about itself."""

    name: str
    version: int
    provider: Annotated[str, Field(description="onnxruntime's execution provider.")]
    input_shape: Annotated[tuple[None, int, int, int], Field(description="uint8 [N, height, width, 3]; N is free.")]
    metadata: Metadata
    refused_versions: list[RefusedVersion]


class Alive(BaseModel):
    """The process answers."""

    status: str = "alive"


class Ready(BaseModel):
    """A model is loaded and warmed up."""

    status: str = "ready"
    model: ModelVersion
