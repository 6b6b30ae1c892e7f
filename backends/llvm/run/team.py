"""The team: the threads of this process that run programs together. There is one.

In: how many threads are wanted. Out: native calls that the team runs. Threads start with the first call that needs
them, again after a fork, and wait between calls. Knows the records in `native`, and nothing of programs.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from ctypes import c_int32, c_int64, c_void_p
from functools import lru_cache
from pathlib import Path

from graphc.errors import CompileError

from ..native import NO_TEAM
from ..native import Team as Shared
from ..target import Target
from . import jit
from .cache import ObjectCache, cache_key
from .runtime import runtime_ir

SPIN = 4000  # pauses before a waiting thread sleeps: a region 0.1 ms after the last finds it awake
MADV_WIPEONFORK = 18  # Linux 4.14; the mmap module has no name for it
SYMBOLS = ("graphc_call", "graphc_team_start", "graphc_team_stop")


class Team:
    """Threads that wait to run a program. Callers hold the process's call lock. Starting, stopping and running are one
    step each, so that a signal handler between two of them finds a team that can run."""

    def __init__(self, runtime: bytes, threads: int, spin: int | None = None) -> None:
        """`runtime`: the object file of `runtime_ir`. `spin`: None for what suits the number of threads."""
        self._code = jit.load([runtime], SYMBOLS)
        self._call = ctypes.CFUNCTYPE(c_int64, c_void_p, c_void_p)(self._code["graphc_call"])
        self._start = ctypes.CFUNCTYPE(c_int32, c_void_p, c_int32, c_int32)(self._code["graphc_team_start"])
        self._stop = ctypes.CFUNCTYPE(None, c_void_p)(self._code["graphc_team_stop"])
        self._memory = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory.madvise(MADV_WIPEONFORK)
        self._shared = Shared.from_buffer(self._memory)
        self._spin = spin
        self._retired: list[object] = []
        self.threads = threads
        self._page = ctypes.addressof(self._shared)

    @property
    def addresses(self) -> tuple[int, int]:
        """Of `graphc_call`, and of what it takes for the team: for native code that calls it."""
        return self._code["graphc_call"], self._page

    def run(self, context: int) -> int:
        """Run the `native.Context` at this address, starting the threads if there are none. Returns the status."""
        status: int = self._call(context, self._page)
        if status == NO_TEAM:
            self.start()
            status = self._call(context, self._page)
        return status

    def retire(self, *memory: object) -> None:
        """Keep memory alive until no worker can look at it: until all of them wait between regions."""
        if not self._shared.active:
            self._retired.clear()
        elif self.threads > 1:
            self._retired.append(memory)

    def start(self) -> None:
        """Start the threads. Raises CompileError if the system refuses them."""
        # Threads that outnumber the processors must not spin: they would keep each other from running.
        spin = self._spin if self._spin is not None else SPIN if self.threads <= len(os.sched_getaffinity(0)) else 0
        threads = self.threads
        started = self._start(self._page, threads, spin)
        if started < threads:
            self.stop()
            raise CompileError(
                f"the system refused to start {threads} threads", got=str(started), hint="set GRAPHC_THREADS lower"
            )

    def stop(self) -> None:
        """End the threads and wait until they are gone. The next call starts them again."""
        self._stop(self._page)

    def resize(self, threads: int) -> None:
        """Have as many threads from the next call on."""
        if threads != self.threads:
            self.threads = threads
            self.stop()

    def after_fork(self) -> None:
        """In a forked child: no worker has come along."""
        ctypes.memset(self._page, 0, ctypes.sizeof(Shared))  # where the system could not wipe it


def runtime_object(target: Target, cache: ObjectCache) -> bytes:
    """The object file of the runtime."""
    text = runtime_ir(target.triple)
    key = cache_key("runtime", text, target.key)
    return cache.fetch(key, lambda: jit.compile_object(text, target, level=jit.QUICK))


def process_team(runtime: bytes, threads: int = 0) -> Team:
    """This process's team; the caller holds the call lock. `runtime`: what `runtime_object` gives for the host.
    `threads`: at most so many; 0 for as many as the process may use."""
    team = _process_team(runtime)
    usable = usable_threads()
    team.resize(min(threads, usable) if threads else usable)
    return team


@lru_cache(maxsize=1)
def _process_team(runtime: bytes) -> Team:
    team = Team(runtime, 1)
    os.register_at_fork(after_in_child=team.after_fork)
    return team


def usable_threads(proc: Path = Path("/proc/self"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Processors that the process may use: its affinity mask, or its control groups' CPU quota if that is less.
    A quota of 2.5 processors is 2: threads that spin for each other suffer more from being stopped than from missing
    half a processor."""
    return max(1, min(len(os.sched_getaffinity(0)), *_quotas(proc, cgroups)))


def _quotas(proc: Path, cgroups: Path) -> list[int]:
    """The CPU quotas, in whole processors, of the process's control groups and the groups above them."""
    found = [1 << 16]
    for line in _lines(proc / "cgroup"):
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            folder, read = cgroups, _quota_v2
        elif "cpu" in controllers.split(","):
            folder, read = cgroups / "cpu", _quota_v1
        else:
            continue
        # Inside a container the group's own path may not be visible; its files are then at the root.
        place = folder / group.lstrip("/")
        for level in (place, *place.parents):
            if not level.is_relative_to(folder):
                break
            quota, period = read(level)
            if quota > 0 and period > 0:
                found.append(quota // period)
    return found


def _quota_v2(folder: Path) -> tuple[int, int]:
    words = " ".join(_lines(folder / "cpu.max")).split()
    return (int(words[0]), int(words[1])) if len(words) == 2 and words[0] != "max" else (0, 0)


def _quota_v1(folder: Path) -> tuple[int, int]:
    quota, period = _lines(folder / "cpu.cfs_quota_us"), _lines(folder / "cpu.cfs_period_us")
    return (int(quota[0]), int(period[0])) if quota and period else (0, 0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
