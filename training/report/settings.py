"""What a run was told, as rows of a table."""

from __future__ import annotations

from typing import Any

from training.report.numbers import MISSING


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """{"a": {"b": [1, 2]}} -> {"a.b": "1, 2"}; floats in the shortest form that reads back as themselves.

    A list of dicts takes the first value of each for its name: "groups.filters.momentum".
    """
    flat: dict[str, str] = {}
    for key, value in values.items():
        match value:
            case dict():
                flat |= flattened(value, f"{prefix}{key}.")
            case [{**first}, *_] if first:
                named = {str(name): dict(rest) for (_, name), *rest in map(dict.items, value)}
                flat |= flattened(named, f"{prefix}{key}.")
            case _:
                flat[f"{prefix}{key}"] = _text(value)
    return flat


def settings(description: dict[str, Any]) -> list[tuple[str, str]]:
    """All that recipe.json tells beside the recipe: what it is called, and its value."""
    names = {
        "dataset": "data",
        "test_share": "share of the folder's pictures for testing",
        "seed": "seed",
        "precision": "precision",
        "device": "device",
        "world_size": "processes",
        "local_world_size": "processes a machine",
        "compile": "kernels fused by torch.compile",
        "data_dir": "data directory",
        "summaries": "summaries",
        "source_revision": "revision of the code",
        "command": "command",
    }
    told = [(name, _text(description.get(key))) for key, name in names.items()]
    return [(name, value) for name, value in told if value != MISSING]


def _text(value: Any) -> str:
    match value:
        case None:
            return MISSING
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(_text, value))
        case float():
            return repr(value)
        case _:
            return str(value)
