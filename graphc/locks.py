"""Locks that survive a fork: whoever forks takes them first, in the order in which all take them, so that no other
thread is in the middle of what they guard; the child, in which no other thread exists, finds them open.

All are reentrant: a signal handler or a finalizer may come while its own thread holds one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

PATIENCE = 10.0  # seconds that a fork waits for whoever holds one; then it goes on regardless

_order: list[Any] = []
_taken: list[Any] = []  # by the fork that is under way


def keep_through_fork(lock: Any) -> None:
    """Take this lock, an RLock, before each fork, after those that were named before."""
    _order.append(lock)


def new_lock() -> threading.RLock:
    """A lock that survives a fork."""
    lock = threading.RLock()
    keep_through_fork(lock)
    return lock


def _take() -> None:
    _taken[:] = [lock for lock in _order if lock.acquire(timeout=PATIENCE)]


def _give_back() -> None:
    taken = _taken[::-1]  # the next fork writes its own as soon as these are given back
    for lock in taken:
        lock.release()


def _open() -> None:
    _taken.clear()
    for lock in _order:
        lock._at_fork_reinit()


def in_child(function: Callable[[], None]) -> None:
    """Call it in every child that is forked, after what was named before."""
    _at_fork(after_in_child=function)


def _at_fork(**hooks: Callable[[], None]) -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**hooks)


_at_fork(before=_take, after_in_parent=_give_back, after_in_child=_open)
