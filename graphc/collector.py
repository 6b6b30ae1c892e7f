"""Python's collector of reference cycles while graphs are made: it looks less often.

A trace and a compilation make some hundred thousand objects, nearly all of which live on, and next to none that only
a cycle keeps alive. Python walks the young ones at every 700, and all there are whenever they have grown by a quarter:
a fifth of the time of compiling a large program. Inside `rare_collections` it walks them at every 100,000, which costs
next to nothing, and still frees in time what the user's own code drops meanwhile.

What the user has set stays: a collector that is switched off stays off, and one that is rarer stays as it is.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from .locks import in_child, new_lock

RARE = 100_000  # new objects that may be in cycles, between two looks at them

_lock = new_lock()
_inside: set[object] = set()  # one for each `with` that is under way, in any thread
_found: list[int] = []  # the first threshold as it was before the first of them, if it was changed


@contextmanager
def rare_collections() -> Iterator[None]:
    """Inside, and in all threads, since the thresholds are the process's. May be nested, and entered by several
    threads at once: the last one to leave puts back what the first one has found."""
    one = object()
    try:  # before the change: an interrupt that comes right after it finds the way back
        _enter(one)
        yield
    finally:
        _leave(one)


def _enter(one: object) -> None:
    with _lock:
        _inside.add(one)
        first, *others = gc.get_threshold()
        if not _found and 0 < first < RARE:
            _found.append(first)
            gc.set_threshold(RARE, *others)


def _leave(one: object) -> None:
    with _lock:
        _inside.discard(one)  # first: who comes in between, a finalizer or a handler, finds what it may leave again
        if not _inside:
            _restore()


def _restore() -> None:
    if _found:
        before = _found.pop()
        first, *others = gc.get_threshold()
        if first == RARE:  # else someone has set another one inside, which is theirs
            gc.set_threshold(before, *others)


def _alone() -> None:
    """In a forked child, the other threads that were inside will never leave."""
    _restore()
    _inside.clear()


in_child(_alone)
