"""Where we are: the settings in force, and the frame that is being traced, if any.

One immutable `Context` holds both, so a compiled function learns with one identity check that neither has changed
since its last call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from graphc.brief import brief
from graphc.callers import user_location
from graphc.dataclass import dataclass, replace
from graphc.settings import BACKENDS, Settings, SettingsError

if TYPE_CHECKING:
    from .tracer import Frame

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, eq=False, slots=True)
class Context:
    settings: Settings
    frame: Frame | None


@lru_cache(maxsize=64)
def untraced(settings: Settings) -> Context:
    """The context outside of any trace; equal settings give the same object."""
    return Context(settings, None)


_from_environment = untraced(Settings.from_environment())
_context: ContextVar[Context] = ContextVar("graphc_context", default=_from_environment)

current_context = _context.get


def current_frame() -> Frame | None:
    return _context.get().frame


def current_settings() -> Settings:
    return _context.get().settings


def within(frame: Frame, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The function's result; operations inside make nodes of this frame.

    Python itself goes back to the old context, whatever happens: with a `try` around `set` and `reset`, an interrupt
    between two of their steps would leave the thread in the trace for ever.
    """
    context = copy_context()
    context.run(_context.set, Context(_context.get().settings, frame))
    return context.run(function, *args, **kwargs)


def outside() -> None:
    """Leave the trace, for the rest of this context."""
    _context.set(untraced(_context.get().settings))


@contextmanager
def using(
    *, backend: str | None = None, threads: int | None = None, flush_subnormals: bool | None = None
) -> Iterator[None]:
    """Inside, compiled functions run on this backend and at most this many threads (0: all that the process may use).
    Concrete operations are evaluated at once whatever the backend. flush_subnormals: whether compiled functions take
    floats that are too small for all their digits, below 1e-38 in float32, for 0, which is faster where there are many.

    It holds for the calling thread, and for what is called inside; functions compiled with an explicit
    `backend=` keep theirs. Raises SettingsError for a backend that does not exist.
    """
    if backend is not None and backend not in BACKENDS:
        error = SettingsError("there is no such backend", got=brief(backend), hint=" or ".join(BACKENDS))
        raise error.at(user_location())
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 0):
        raise SettingsError("threads is a number of threads, or 0 for all", got=brief(threads)).at(user_location())
    old = _context.get()
    changes: dict[str, object] = {}
    if backend is not None:
        changes["backend"] = backend
    if threads is not None:
        changes["threads"] = threads
    if flush_subnormals is not None:
        if not isinstance(flush_subnormals, bool):
            rule = "flush_subnormals is True or False"
            raise SettingsError(rule, got=brief(flush_subnormals)).at(user_location())
        changes["flush_subnormals"] = flush_subnormals
    settings = replace(old.settings, **changes)
    inside = untraced(settings) if old.frame is None else Context(settings, old.frame)
    try:  # before the change: an interrupt that comes right after it finds the way back
        _context.set(inside)
        yield
    finally:
        _context.set(old)
