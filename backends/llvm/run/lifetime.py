"""Things that end when nothing can use them any more, and not before.

Where a cycle of objects is garbage, Python first runs the finalizers of all of them, in any order, and then frees them:
so one may still call a function whose own `__del__` has run. What machine code or memory depends on is therefore let go
by a `Hold`, which waits for the end of the collection that has found it.
"""

from __future__ import annotations

import gc
import itertools
import sys
from collections import deque
from collections.abc import Callable


class Hold:
    """Calls `ending` when it is dead for good."""

    __slots__ = ("_number",)

    def __init__(self, ending: Callable[[], object]) -> None:
        self._number = next(_numbers)
        _endings[self._number] = ending  # kept out of any garbage, with all that it refers to

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if is_ending():  # the process gives everything back, and what `ending` would use may be gone
            return
        if _collecting:
            _dead.append(self._number)
        else:
            _endings.pop(self._number)()


_numbers = itertools.count()
_endings: dict[int, Callable[[], object]] = {}
_collecting: list[None] = []  # something, while a collection is under way
_dead: deque[int] = deque()


def _notice(phase: str, _: dict[str, int]) -> None:
    if phase == "start":
        _collecting.append(None)
        return
    _collecting.clear()
    while _dead:
        _endings.pop(_dead.popleft())()


gc.callbacks.append(_notice)
