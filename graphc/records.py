"""Records as JSON and back: dataclasses come in, JSON text goes out; text that is read is checked against annotations.

What reads is data and never code. Knows bool, int, float, str, None, enums, dtypes, tuples, mappings with names as
keys, unions of these with None, and dataclasses of them. A field that is an `object` holds any JSON value.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .brief import brief
from .dataclass import field_names, is_dataclass
from .decision import NO_DECISIONS, Decisions
from .errors import CompileError, GraphcError, PackageError
from .types import DTYPES, DType

R = TypeVar("R")


def to_json(record: object) -> bytes:
    """The text of a dataclass. Raises CompileError for a field of a type that has no text."""
    return json.dumps(_encoded(record), ensure_ascii=False, separators=(",", ":")).encode()


def from_json(kind: type[R], text: bytes) -> R:
    """The record of this class that the text holds.

    Raises PackageError for text that is no JSON, that lacks a field or has one too many, or where a value has not the
    type of its annotation. Numbers are not judged any further.
    """
    try:
        value = json.loads(text)
        record: R = _decoded(kind, value, kind.__name__)
    except (ValueError, RecursionError) as error:
        if isinstance(error, GraphcError):
            raise
        raise PackageError(f"the text of {kind.__name__} can't be read", got=str(error)) from None
    return record


_AS_THEY_ARE = (type(None), bool, int, float, str, list)


def _encoded(value: Any) -> Any:
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is tuple:
        return [item if type(item) in _AS_THEY_ARE else _encoded(item) for item in value]
    if kind is Decisions:  # of fusion, about nodes that are no more: a package does without
        return None
    if is_dataclass(value) and kind is not DType:
        return {name: _encoded(getattr(value, name)) for name in field_names(value)}
    match value:
        case Enum():
            return value.value
        case int() | float() | str() | list():
            return value
        case DType():
            return value.name
        case tuple():
            return [_encoded(item) for item in value]
        case Mapping():
            return {str(name): _encoded(item) for name, item in value.items()}
    raise CompileError("a record has no such values", got=brief(value))


def _decoded(kind: Any, value: Any, where: str) -> Any:
    """The value as `kind` has it. `where`: the way to it, for messages."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (some,) = (k for k in arguments if k is not type(None))
        return None if value is None else _decoded(some, value, where)
    if origin is tuple:
        return _tuple(arguments, _expect(list, value, where), where)
    if origin in (dict, Mapping):
        items = _expect(dict, value, where).items()
        return {name: _decoded(arguments[1], item, f"{where}.{name}") for name, item in items}
    if kind is float:
        return float(value) if type(value) is int else _expect(float, value, where)
    if kind is Decisions:
        return NO_DECISIONS
    if kind is object:
        return value
    if kind in (bool, int, str):
        return _expect(kind, value, where)
    if kind is DType:
        return _known(DTYPES, value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _known({member.value: member for member in kind}, value, where)
    return _record(kind, _expect(dict, value, where), where)


def _tuple(kinds: tuple[Any, ...], value: list[Any], where: str) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise PackageError(f"{where} has {len(kinds)} items", got=f"{len(value)} items")
    return tuple(_decoded(k, item, f"{where}[{i}]") for i, (k, item) in enumerate(zip(kinds, value, strict=True)))


def _record(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints = _hints(kind)
    if value.keys() != hints.keys():
        raise PackageError(f"{where} has the fields {', '.join(hints)}", got=", ".join(value))
    return kind(**{name: _decoded(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})


@lru_cache(maxsize=64)
def _hints(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    hints = get_type_hints(kind)
    return {name: hints[name] for name in field_names(kind)}


def _expect(kind: type, value: Any, where: str) -> Any:
    if type(value) is not kind:  # exactly: True is no int
        raise PackageError(f"{where} is of type {kind.__name__}", got=brief(value))
    return value


def _known(names: Mapping[Any, Any], value: Any, where: str) -> Any:
    if not isinstance(value, str) or value not in names:
        raise PackageError(f"{where} is one of {', '.join(names)}", got=brief(value))
    return names[value]
