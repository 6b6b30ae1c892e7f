"""Whether the code that runs has interrupted a trace: a signal handler, or a finalizer, that is no part of it.

Both run in the middle of whatever their thread is doing, so they find the frame of its trace; but what they compute
must not become a part of the traced function. In: the Python stack. Out: an answer, and a way to run outside of it.

Python's stack does not say who called whom, so they are known by what Python calls them with: a handler gets the
signal and the frame that it interrupts, the callback of a weak reference one whose object is gone, `__del__` is the
class's own.
A generator that is closed when it is dropped stays a part of the trace, as what `with` does at its end.
"""

from __future__ import annotations

import inspect
import signal
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from functools import cache
from itertools import pairwise
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from graphc.callers import is_ours

from .context import outside

if TYPE_CHECKING:
    from .tracer import Frame

P = ParamSpec("P")
R = TypeVar("R")

FINALIZE: Final = weakref.finalize.__call__.__code__
_PROXIES: Final = (weakref.ProxyType, weakref.CallableProxyType)


def interrupts(frame: Frame, depth: int = 1) -> bool:
    """Whether the caller runs on behalf of a signal handler or a finalizer that came in the middle of this trace.
    `depth`: how many frames up the stack there is something to be looked at.

    What a code is called for is found out when it is first met in the trace. The walk ends at the next call that was
    looked at before and is still running (`Frame.running`): two or three steps.
    """
    root = frame if frame.parent is None else frame.root
    running, codes = root.running, root.codes
    at: FrameType | None = sys._getframe(depth)
    while at is not None:
        if id(at) in running:
            return False
        code = at.f_code
        answer = codes.get(id(code), _UNKNOWN)  # by id: a code's hash looks at all that it holds
        if answer is _UNKNOWN:
            answer = codes[id(code)] = False if code is root.traced_by else _is_interruption(root, at) or None
            root.met.append(code)
        if answer is not None:
            return answer
        at = at.f_back
    return False


_UNKNOWN: Final[Any] = object()


def _is_interruption(root: Frame, frame: FrameType) -> bool:
    """Whether Python calls this frame's function by itself."""
    code = frame.f_code
    if is_ours(frame):
        return False
    if code is FINALIZE or code.co_name == "__del__" or any(code is c for c in _handlers(root)):
        return True
    values = _arguments(frame)
    if values and getattr(getattr(type(values[0]), "__del__", None), "__code__", None) is code:
        return True
    return any(_is_gone(x) for x in values) or any(map(_is_told, pairwise(values)))


def _arguments(frame: FrameType) -> Sequence[Any]:
    """What the function was called with by position, as far as its variables still hold it."""
    code = frame.f_code
    count, has_rest = code.co_argcount, bool(code.co_flags & inspect.CO_VARARGS)
    if not (count or has_rest) or not code.co_flags & inspect.CO_NEWLOCALS:
        return ()
    found = frame.f_locals
    values = [found[name] for name in code.co_varnames[:count] if name in found]
    if has_rest and isinstance(rest := found.get(code.co_varnames[count + code.co_kwonlyargcount]), tuple):
        values += rest
    if sys.version_info < (3, 13):
        found.clear()  # a copy, which Python keeps: it would hold what the function drops
    return values


def _is_gone(value: Any) -> bool:
    """Whether it is a weak reference to an object that is no more."""
    if issubclass(type(value), weakref.ReferenceType):
        return value() is None
    if type(value) in _PROXIES:
        try:
            value.__class__  # noqa: B018
        except ReferenceError:
            return True
    return False


def _is_told(pair: tuple[Any, Any]) -> bool:
    """Whether these are what a signal handler is called with, or one of `gc.callbacks`."""
    first, second = pair
    if type(first) is int:
        return type(second) is FrameType
    return type(first) is str and first in ("start", "stop") and type(second) is dict and "generation" in second


def _handlers(root: Frame) -> Sequence[CodeType]:
    """The code of all Python signal handlers, as they were when this trace was first asked."""
    if root.handlers is None:
        root.handlers = tuple(_handler_codes())
    return root.handlers


@cache
def _signals() -> tuple[int, ...]:
    return tuple(map(int, signal.valid_signals()))


def _handler_codes() -> Iterator[CodeType]:
    # The function that `signal.getsignal` wraps, which makes an enum of each answer, takes a tenth of the time.
    get = getattr(signal.getsignal, "__wrapped__", signal.getsignal)
    for number in _signals():
        handler: Any = get(number)
        if not callable(handler):
            continue
        while hasattr(handler, "func"):
            handler = handler.func
        # A function, a method, an object that can be called.
        for way in (handler, getattr(handler, "__func__", None), vars(type(handler)).get("__call__")):
            if isinstance(code := getattr(way, "__code__", None), CodeType):
                yield code


def run_outside(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call it where no trace is seen, with the same settings."""
    context = copy_context()
    context.run(outside)
    return context.run(function, *args, **kwargs)


def traced(frame: Frame, call: Callable[P, R], plain: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call one of graphc's functions, `plain`, in a trace; or outside of it where this comes from an interruption, as
    `call`, which users call. What it calls need not look further than here."""
    if interrupts(frame, 3):
        return run_outside(call, *args, **kwargs)
    running = (frame if frame.parent is None else frame.root).running
    here = id(sys._getframe())
    try:
        running.add(here)
        return plain(*args, **kwargs)
    finally:
        running.discard(here)
