"""What is done once in a process, before its first program runs: LLVM comes in, and the code that all programs share is
made and loaded. It takes as long as a small program's trace, and can be done beside it.
"""

from __future__ import annotations

import threading
from functools import lru_cache

from . import array_call, jit
from .library import opening
from .target import host_target
from .team import Team, process_team, runtime_object


def begin() -> None:
    """Begin with it on a thread of its own. An exit of the process waits for its end, and so does a fork."""
    thread = threading.Thread(target=_finish, name="graphc-begin")
    try:
        thread.start()
    except RuntimeError:  # the system has no thread left, or the process ends: it is done when it is needed
        return


def _finish() -> None:
    try:
        with opening:
            _shared()
    except Exception:  # who needs it tries again, and tells
        return


def shared(threads: int) -> tuple[Team, jit.Code]:
    """The team, of at most so many threads (0: as many as the process may use), and the code of calls. The caller
    holds the call lock."""
    with opening:  # waits for who is at it
        runtime, calls = _shared()
    return process_team(runtime, threads), calls


@lru_cache(maxsize=1)
def _shared() -> tuple[bytes, jit.Code]:
    target = host_target()
    runtime = runtime_object(target)
    process_team(runtime, 1)
    return runtime, jit.load([array_call.array_call_object(target)], array_call.SYMBOLS)
