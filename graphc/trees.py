"""The structure of arguments and results as JSON values: dicts, lists and tuples of arrays, numbers, strings and None.

An array is told by its type. What is read is checked, and makes nothing but these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .brief import brief
from .errors import PackageError, UnsupportedError
from .types import DTYPES, TensorType


def encode_tree(tree: Any) -> object:
    """The JSON value of a tree whose arrays are `TensorType`s. Raises UnsupportedError for anything else in it."""
    kind = type(tree)
    if tree is None or kind in (bool, int, float, str):
        return tree
    if kind is TensorType:
        return {"array": [tree.dtype.name, *tree.shape]}
    if kind in (list, tuple):
        return {kind.__name__: [encode_tree(item) for item in tree]}
    if kind is dict and all(type(key) in (bool, int, float, str) for key in tree):
        return {"dict": [[key, encode_tree(item)] for key, item in tree.items()]}
    raise UnsupportedError(
        "a package keeps arguments and results that are arrays, numbers, strings, None, and lists, tuples and dicts "
        "of them, with names or numbers as keys",
        got=f"a {kind.__qualname__}",
    )


def decode_tree(value: object, leaf: Callable[[TensorType], Any]) -> Any:
    """The tree of a JSON value, with `leaf(type)` for each array. Raises PackageError for a value that is no tree."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case {"array": [str(dtype), *shape], **more} if not more and dtype in DTYPES:
            if all(type(size) is int and size >= 0 for size in shape):
                return leaf(TensorType(DTYPES[dtype], tuple(shape)))
        case {"list": [*items], **more} if not more:
            return [decode_tree(item, leaf) for item in items]
        case {"tuple": [*items], **more} if not more:
            return tuple(decode_tree(item, leaf) for item in items)
        case {"dict": [*items], **more} if not more:
            return dict(_pair(item, leaf) for item in items)
    raise PackageError("the structure of arguments or results is damaged", got=brief(value))


def _pair(item: object, leaf: Callable[[TensorType], Any]) -> tuple[Any, Any]:
    match item:
        case [(bool() | int() | float() | str()) as key, value]:
            return key, decode_tree(value, leaf)
    raise PackageError("the structure of arguments or results is damaged", got=brief(item))
