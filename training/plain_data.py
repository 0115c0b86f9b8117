"""Frozen dataclasses from plain values: the inverse of `dataclasses.asdict`, also after a trip through JSON."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from typing import Any, Literal, TypeVar

Kind = TypeVar("Kind")


def built(kind: type[Kind], values: Any) -> Kind:
    """`values` as an instance of `kind`, a dataclass; lists become tuples where its fields are tuples.

    Of a field that may be one of several dataclasses, the values' "kind" says which. Raises TypeError for a key that
    `kind` has no field for, KeyError for a field without a value or a "kind" that there is none of, ValueError for a
    word that a field does not know.
    """
    hints = typing.get_type_hints(kind)
    unknown = values.keys() - hints.keys()
    if unknown:
        raise TypeError(f"{kind.__name__} has no {' and no '.join(sorted(unknown))}")
    return kind(**{name: _value(hint, values[name]) for name, hint in hints.items()})


def _value(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return built(typing.cast(type, hint), value)
    if isinstance(hint, types.UnionType) and isinstance(value, dict):
        choices: dict[str, Any] = {choice.kind: choice for choice in typing.get_args(hint)}
        return built(choices[value["kind"]], value)
    if typing.get_origin(hint) is Literal and value not in typing.get_args(hint):
        raise ValueError(f"{value!r} is none of {', '.join(map(str, typing.get_args(hint)))}")
    if typing.get_origin(hint) is tuple:
        (first, *_) = typing.get_args(hint)
        return tuple(_value(first, entry) for entry in value)
    # As literals are: what a resumed run pickles has the same references, and so the same bytes.
    return sys.intern(value) if isinstance(value, str) else value
