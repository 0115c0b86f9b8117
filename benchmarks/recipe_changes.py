"""A recipe with some of its values replaced, which dotted paths name."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from training.errors import UserError
from training.recipe import Recipe, from_dict


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """`recipe` with other plain values at paths like "learning_rate" or "distortions.crop_size".

    In a list, a part of a path is an entry's number, or the name it bears as its first value: "groups.head.momentum".
    Raises UserError for a path that leads nowhere, a word that is not known there, and where nothing is changed by it.
    """
    values = json.loads(json.dumps(recipe.as_dict()))
    for path, value in changes.items():
        *parts, last = path.split(".")
        try:
            part = values
            for name in parts:
                part = part[_key(part, name)]
            before, part[_key(part, last)] = part[_key(part, last)], value
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"{recipe.name} has no {path}; training/recipe.py says what it has.") from error
        if before == value:
            raise UserError(f"{path} is {json.dumps(value)} in {recipe.name} as it is; give another value.")
    try:
        return from_dict(values)
    except ValueError as error:
        raise UserError(f"{recipe.name} cannot be changed so: {error}.") from error


def parsed(text: str) -> dict[str, Any]:
    """Changes as a command line gives them: "PATH=VALUE PATH=VALUE …", values as JSON, or words as they are.

    Raises ValueError where a path or a value is missing.
    """
    changes = {}
    for word in shlex.split(text):
        path, equals, value = word.partition("=")
        if not (path and equals and value):
            raise ValueError(word)
        try:
            changes[path] = json.loads(value)
        except json.JSONDecodeError:
            changes[path] = value
    return changes


def _key(part: Any, name: str) -> str | int:
    if not isinstance(part, list):
        return name
    if name.isdecimal():
        return int(name)
    for number, entry in enumerate(part):
        if isinstance(entry, dict) and next(iter(entry.values())) == name:
            return number
    raise KeyError(name)
