"""Values in messages: a few words for anything, however large it is. No message prints data."""

from __future__ import annotations

import reprlib
from typing import Any

LONGEST = 80  # characters
MOST = 6  # items of a container that is shown as it is

_short = reprlib.Repr()
_short.maxlist = _short.maxtuple = _short.maxset = _short.maxfrozenset = _short.maxdict = MOST
_short.maxstring = _short.maxother = LONGEST - 20


def brief(value: Any) -> str:
    """A value in a message: its text where that is short, else what it is and how much it holds.

    Arrays of any library show their dtype and shape only: `float32[3, 4] (ndarray)`.
    """
    if (described := _array(value)) is not None:
        return described
    if isinstance(value, list | tuple | set | frozenset | dict):
        return _container(value)
    return _text(value)


def _array(value: Any) -> str | None:
    """dtype, shape, and whose array it is; None for what is no array."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(value, type) or not isinstance(shape, tuple) or dtype is None:
        return None
    kind = type(value)
    if not shape and kind.__module__ == "numpy" and kind.__name__ != "ndarray":
        return _text(value)  # one number
    described = f"{str(dtype).rpartition('.')[2]}[{', '.join(map(str, shape))}]"
    return described if kind.__module__.startswith("graphc.") else f"{described} ({kind.__name__})"


def _container(value: Any) -> str:
    items = list(value.values()) if isinstance(value, dict) else list(value)
    if len(items) <= MOST and all(isinstance(i, bool | int | float | str | type(None)) for i in items):
        return _text(value)
    kind, count = type(value).__name__, f"{len(items)} item{'s' if len(items) > 1 else ''}"
    return f"a {kind} of {count}, the first {brief(items[0])}"


def _text(value: Any) -> str:
    """On one line, and cut. Numbers of thousands of digits have no text in Python."""
    try:
        text = " ".join(_short.repr(value).split())
    except ValueError:
        return "an int of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
