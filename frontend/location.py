"""Where graphc ends and the user's code begins: the user's line, and errors that show no more than it.

The user's line is that of the innermost frame of the Python stack that runs none of graphc's own modules.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

from graphc.callers import is_ours, package_of, stack_level, user_frame, user_location
from graphc.errors import CompileError, GraphcError

from .context import current_context, current_settings
from .interrupts import traced
from .signatures import check_call

P = ParamSpec("P")
R = TypeVar("R")


def with_user_line(function: Callable[P, R]) -> Callable[P, R]:
    """For functions that users call: errors name the line of that call, unless they know one already, and show none
    of our frames; a call that does not fit the signature raises ArgumentError; in a handler or a finalizer that
    interrupts a trace, it is no part of that."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            try:
                frame = current_context().frame
                return function(*args, **kwargs) if frame is None else traced(frame, call, function, *args, **kwargs)
            except TypeError:
                check_call(function, args, kwargs)
                raise
        except Exception as error:
            present(error)
            raise

    return call


# What graphc calls: an error in there is ours if it was us who called.
_LIBRARIES = frozenset({"numpy", "ml_dtypes", "optree", "llvmlite", "triton", "contextlib", "functools"})


def present(error: Exception) -> None:
    """What is done to an error before it is raised again, by a bare `raise`, where the user's code called: it gets
    the user's line, and loses our frames unless GRAPHC_TRACEBACK=full.

    A bare `raise` adds no entry for its own frame, so the one who calls this is not shown either. Faults of our own
    keep all their frames.
    """
    if isinstance(error, GraphcError):
        error.at(user_location())
    if current_settings().traceback == "full" or _is_our_fault(error):
        return
    told: BaseException | None = error
    while told is not None:  # with what it came from
        told.__traceback__ = _shown(told.__traceback__)
        told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)


def _is_our_fault(error: Exception) -> bool:
    if isinstance(error, GraphcError):
        return isinstance(error, CompileError)
    innermost = True
    entry = error.__traceback__
    while entry is not None:
        if package_of(entry.tb_frame) not in _LIBRARIES:
            innermost = is_ours(entry.tb_frame)
        entry = entry.tb_next
    return innermost and not isinstance(error, OSError)


def _shown(entry: TracebackType | None) -> TracebackType | None:
    """The traceback without our frames."""
    kept = []
    while entry is not None:
        if not is_ours(entry.tb_frame):
            kept.append(entry)
        entry = entry.tb_next
    result = None
    for entry in reversed(kept):
        result = TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result


__all__ = ["present", "stack_level", "user_frame", "user_location", "with_user_line"]
