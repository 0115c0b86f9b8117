"""JSON schemas for the places of the OpenAPI description that FastAPI does not fill by itself."""

from typing import Any

from pydantic import BaseModel


def inlined_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the model's schema without references: what they refer to is put in their place."""
    schema = model.model_json_schema()
    inlined: dict[str, Any] = _inlined(schema, schema.get("$defs", {}))
    return inlined


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        node = definitions[node["$ref"].rpartition("/")[2]] | {key: node[key] for key in node.keys() - {"$ref"}}
    return {key: _inlined(value, definitions) for key, value in node.items() if key != "$defs"}
