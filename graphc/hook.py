"""The hook through which the frontend has work done by parts that it must not import.

The frontend makes graphs; gradients need a pass, and those of concrete values a compiler. `compile.py` knows them all
and installs itself here, once, when `graphc` is imported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from .devices import Device
from .errors import CompileError, TraceError
from .ir import Node
from .locks import in_child, new_lock


class Driver(Protocol):
    """What the frontend asks for."""

    def differentiate(
        self, outputs: Sequence[Node], wrt: Sequence[Node], cotangents: Sequence[Node], *, wide: bool = False
    ) -> list[Node | None]:
        """Gradients of sum(outputs · cotangents) for each of `wrt`, on nodes; None where nothing is reached. `wide`:
        those of 16-bit floats are of the dtype that they are computed in."""

    def gpu(self) -> Device:
        """The GPU. Raises UnsupportedError where there is none to be had."""

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, traced and compiled at its first call for each kind of arguments."""


_installed: list[Driver] = []


def install(driver: Driver) -> None:
    """Called by `compile.py` only."""
    _installed[:] = [driver]


def driver() -> Driver:
    """The installed driver. Raises CompileError when the core is used without the compiler."""
    if not _installed:
        raise CompileError("no compiler is installed", hint="import graphc before its parts")
    return _installed[0]


# Serializes everything that runs a program or touches Variables: there is one team of threads per process.
#
# Reentrant, since a garbage collection inside a call may run user code. To be taken by `with` only, since its methods
# are C's: an interrupt comes before it is taken, or where it is given back again.
call_lock = new_lock()

# Serializes traces, which run users' code: that may wait for another thread, whose calls must go on meanwhile, or which
# forks; so a fork does not wait for a trace.
_trace_lock = threading.RLock()
in_child(_trace_lock._at_fork_reinit)  # type: ignore[attr-defined]


@contextmanager
def tracing() -> Iterator[None]:
    """Inside, no other thread traces.

    Who holds the call lock, a finalizer or a signal handler that came in the middle of a call, must not wait for a
    trace, which may wait for a call: then this raises TraceError.
    """
    if call_lock._is_owned():  # type: ignore[attr-defined]
        if not _trace_lock.acquire(blocking=False):
            raise TraceError(
                "a finalizer or signal handler in the middle of a call can't wait for another thread's trace",
                hint="let the handler set a flag that the program looks at, or call the function once before",
            )
        try:
            yield
        finally:
            _trace_lock.release()
    else:
        with _trace_lock:
            yield
