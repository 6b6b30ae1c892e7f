"""The user's line: the innermost frame of the Python stack that runs none of graphc's own modules."""

from __future__ import annotations

import sys

from graphc.errors import Location


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
