"""The Python stack as users see it: where graphc's frames end and theirs begin."""

from __future__ import annotations

import sys
from functools import lru_cache
from types import FrameType

from .errors import Location

# Python's own modules through which graphc calls itself: cached properties, context managers.
_BETWEEN = frozenset({"functools", "contextlib"})


def package_of(frame: FrameType) -> str:
    """The top-level package of the module that a frame runs."""
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]


def is_ours(frame: FrameType) -> bool:
    """Whether it runs a module of graphc's. These are known by their `__name__`, never by path: the source folders
    lie outside of the package and are seen through symlinks."""
    return package_of(frame) == "graphc"


def user_frame() -> FrameType | None:
    """The innermost frame of the user's code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def user_location() -> Location | None:
    """Where the user's code called into graphc. The same line is mostly the same object, and so is soon compared."""
    frame = user_frame()
    if frame is None:
        return None
    code = frame.f_code
    return _location(code.co_filename, frame.f_lineno, code.co_name)


def stack_level() -> int:
    """How far up the stack of whoever asks the user's frame is: the `stacklevel` of a warning."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    return level


# A trace asks these two for every node: how far out a frame is, and what its line is, follow from a few words.


@lru_cache(maxsize=1024)
def _is_inside(module: str) -> bool:
    package = module.partition(".")[0]
    return package == "graphc" or package in _BETWEEN


@lru_cache(maxsize=1024)
def _location(file: str, line: int, function: str) -> Location:
    return Location(file, line, function)
