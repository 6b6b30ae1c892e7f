"""What is done once in a process, before its first program runs: LLVM comes in, and the code that all programs share is
made and loaded. It takes as long as a small program's trace, and can be done beside it.
"""

from __future__ import annotations

import threading

from graphc.settings import Settings

from ..library import opening
from ..target import host_target
from . import array_call, jit
from .cache import ObjectCache, cache_folder
from .team import Team, process_team, runtime_object


def begin(settings: Settings) -> None:
    """Begin with it on a thread of its own. An exit of the process waits for its end, and so does a fork."""
    thread = threading.Thread(target=_finish, args=(settings,), name="graphc-begin")
    try:
        thread.start()
    except RuntimeError:  # the system has no thread left, or the process ends: it is done when it is needed
        return


def _finish(settings: Settings) -> None:
    try:
        with opening:
            _shared(settings)
    except Exception:  # who needs it tries again, and tells
        return


def shared(settings: Settings) -> tuple[Team, jit.LoadedCode]:
    """The team, of as many threads as the settings say, and the code of calls. The caller holds the call lock."""
    with opening:  # waits for who is at it
        runtime, calls = _shared(settings)
    return process_team(runtime, settings.threads), calls


def _shared(settings: Settings) -> tuple[bytes, jit.LoadedCode]:
    """Made once, with the settings of who comes first, which say where code is kept."""
    if not _made:
        target = host_target()
        cache = ObjectCache(cache_folder(settings), tells=False, imports=False)  # the program's own cache tells
        runtime = runtime_object(target, cache)
        process_team(runtime, 1)
        _made.append((runtime, jit.load([array_call.array_call_object(target, cache)], array_call.SYMBOLS)))
    return _made[0]


_made: list[tuple[bytes, jit.LoadedCode]] = []
