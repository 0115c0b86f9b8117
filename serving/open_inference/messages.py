"""The JSON of the Open Inference Protocol, version 2; the OpenAPI description is made from it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from serving.predictions import Problem

NUMBERS = {"type": "array", "items": {}, "description": "Numbers from 0 to 255: flat, or nested as the shape says."}


class ServerMetadata(BaseModel):
    """What the server is, and which of Triton's extensions it knows."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(BaseModel):
    live: bool = True


class ServerReady(BaseModel):
    ready: bool = True


class ModelReady(BaseModel):
    name: str
    ready: bool = True


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: Annotated[list[int], Field(description="-1 stands for the number of pictures.")]


class ModelParameters(BaseModel):
    """What the protocol has no place for."""

    max_batch_size: Annotated[int, Field(description="Greatest number of pictures in a request.")]
    class_names: Annotated[tuple[str, ...], Field(description="One for each column of `probabilities`.")]


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: ModelParameters


class ConfiguredTensor(BaseModel):
    name: str
    data_type: str
    dims: Annotated[list[int], Field(description="Without the number of pictures.")]


class ModelConfiguration(BaseModel):
    """What of Triton's model configuration is true of this server."""

    name: str
    platform: str
    max_batch_size: int
    input: list[ConfiguredTensor]
    output: list[ConfiguredTensor]


class IndexedVersion(BaseModel):
    """A version in the folder of models, as Triton's model repository extension lists it."""

    name: str
    version: str
    state: Annotated[str, Field(description="READY or UNAVAILABLE.")]
    reason: Annotated[str, Field(description="Why it is unavailable.")] = ""


class _Sent(BaseModel):
    """What clients send: each value of just the type that the protocol says, members that are not known ignored."""

    model_config = ConfigDict(strict=True, frozen=True)


class IndexRequest(_Sent):
    ready: Annotated[bool, Field(description="List only what can be asked for.")] = False


class InputParameters(_Sent):
    binary_data_size: Annotated[int | None, Field(ge=0, description="Bytes of this tensor, after the JSON.")] = None
    shared_memory_region: Annotated[Any, Field(description="Refused: there is no shared memory.")] = None


# What else is true of a request's members is told in OpenAPI, and refused with a sentence that says more than a schema.
class InputTensor(_Sent):
    name: Annotated[str, Field(json_schema_extra={"const": "images"})]
    shape: Annotated[
        list[Annotated[int, Field(ge=0, le=2**64 - 1)]],
        Field(max_length=8, fail_fast=True, json_schema_extra={"minItems": 4, "maxItems": 4}),
    ]
    datatype: Annotated[str, Field(json_schema_extra={"const": "UINT8"})]
    parameters: InputParameters = InputParameters()
    data: Annotated[Any, WithJsonSchema(NUMBERS)] = None


class OutputParameters(_Sent):
    binary_data: Annotated[bool | None, Field(description="After the JSON rather than in it.")] = None
    classification: Annotated[
        int, Field(ge=0, description="Answer with so many `value:index:class` strings, the most probable first.")
    ] = 0
    shared_memory_region: Annotated[Any, Field(description="Refused: there is no shared memory.")] = None


class RequestedOutput(_Sent):
    name: Annotated[str, Field(json_schema_extra={"enum": ["probabilities", "label"]})]
    parameters: OutputParameters = OutputParameters()


class RequestParameters(_Sent):
    binary_data_output: Annotated[bool, Field(description="What `binary_data` is where it isn't given.")] = False


class InferenceRequest(_Sent):
    """Pictures as the model takes them: uint8 [N, height, width, 3], RGB."""

    id: Annotated[str, Field(description="Comes back with the answer.")] = ""
    parameters: RequestParameters = RequestParameters()
    inputs: Annotated[
        list[InputTensor],
        Field(max_length=8, fail_fast=True, json_schema_extra={"minItems": 1, "maxItems": 1}),
    ]
    outputs: Annotated[
        list[RequestedOutput], Field(max_length=8, fail_fast=True, description="All, where none is named.")
    ] = []


class OutputTensorParameters(BaseModel):
    binary_data_size: Annotated[int, Field(description="Bytes of this tensor, after the JSON.")]


class OutputTensor(BaseModel):
    name: str
    datatype: str
    shape: list[int]
    parameters: OutputTensorParameters | None = None
    data: list[float] | list[int] | list[str] | None = None


class InferenceAnswer(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class ProtocolError(Problem):
    """A problem document with the member that the protocol's clients read."""

    error: Annotated[str, Field(description="The same as `detail`.")]
