"""Whether the code that runs has interrupted a trace: a signal handler, or a finalizer, that is no part of it.

Both run in the middle of whatever their thread is doing, so they find the frame of its trace; but what they compute
must not become a part of the traced function. In: the Python stack. Out: an answer, and a way to run outside of it.
"""

from __future__ import annotations

import signal
import sys
import weakref
from collections.abc import Callable
from contextvars import copy_context
from types import CodeType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from .context import outside

if TYPE_CHECKING:
    from .tracer import Frame

P = ParamSpec("P")
R = TypeVar("R")

FINALIZE = weakref.finalize.__call__.__code__


def interrupts(frame: Frame) -> bool:
    """Whether the caller runs on behalf of a signal handler or a finalizer that came in the middle of this trace.

    What Python calls when a bare `weakref.ref` dies is not told from a call by the traced function.
    """
    handlers = handler_codes(frame)
    at = sys._getframe(1)
    while at is not None:
        code = at.f_code
        if id(code) in handlers or code is FINALIZE or code.co_name == "__del__":
            return True
        if code is frame.root.traced_by:
            return False
        at = at.f_back  # type: ignore[assignment]
    return False


def handler_codes(frame: Frame) -> dict[int, CodeType]:
    """The code of all Python signal handlers, as they were when this trace was first asked, by id: a code's hash looks
    at all that it holds."""
    root = frame.root
    if root.handlers is None:
        found = (signal.getsignal(s) for s in signal.valid_signals())
        root.handlers = {id(code): code for h in found if (code := _code(h)) is not None}
    return root.handlers


def _code(handler: Any) -> CodeType | None:
    """The code that a handler runs first: a function, a method, a partial, an object that can be called."""
    while hasattr(handler, "func"):
        handler = handler.func
    for way in (handler, getattr(handler, "__func__", None), vars(type(handler)).get("__call__")):
        code = getattr(way, "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None


def run_outside(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call it where no trace is seen, with the same settings."""
    context = copy_context()
    context.run(outside)
    return context.run(function, *args, **kwargs)
