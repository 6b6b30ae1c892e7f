"""The Python stack as users see it: where graphc's frames end and theirs begin."""

from __future__ import annotations

import sys
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
    while frame is not None and _is_inside(frame):
        frame = frame.f_back
    return frame


def user_location() -> Location | None:
    """Where the user's code called into graphc."""
    frame = user_frame()
    return frame and Location(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def stack_level() -> int:
    """How far up the stack of whoever asks the user's frame is: the `stacklevel` of a warning."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_inside(frame):
        frame, level = frame.f_back, level + 1
    return level


def _is_inside(frame: FrameType) -> bool:
    return is_ours(frame) or package_of(frame) in _BETWEEN
