"""The user's line: the innermost frame of the Python stack that runs none of graphc's own modules."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from graphc.errors import GraphcError, Location

P = ParamSpec("P")
R = TypeVar("R")


def user_location() -> Location | None:
    """Where the user's code called into graphc.

    Our own frames are known by their module's `__name__`, never by path: the source folders lie outside of the
    package and are seen through symlinks.
    """
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name != "graphc" and not name.startswith("graphc."):
            return Location(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def with_user_line(function: Callable[P, R]) -> Callable[P, R]:
    """For functions that users call: errors raised inside name the line of that call, unless they know one already."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except GraphcError as error:
            error.at(user_location())
            raise

    return call


def stack_level() -> int:
    """How far up the stack of whoever asks the user's frame is: the `stacklevel` of a warning."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "graphc":
        frame, level = frame.f_back, level + 1
    return level
