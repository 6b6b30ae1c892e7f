"""The native ABI: what a compiled program is made of, and the records that generated code and the runtime share.

In: nothing but numbers. Out: `NativeProgram` (objects, tasks, buffers), and the binary records as ctypes structures.
Every offset that IR text, C text or Python uses comes from these structures. Nothing here allocates or runs.

    kernel function   void f(ptr buffers, ptr slots, i64 low, i64 high, i64 task, ptr context)
        buffers       ptr[]: the address of every buffer of the program
        slots         i32[]: slot k of the kernel is the memory at buffers[slots[k]]
        low, high     the work units to do; units may run in any order, on any thread, in ranges of any length
        task          number of the task, reported with a bad index
        context       the running instance; kernels touch `status` and `bad_index` only, through `@report`
    run               i64 graphc_run(ptr context, i64 thread, i64 threads): walks the table, every thread of the team
    call              i64 graphc_call(ptr context, ptr team): one region of the team, or `run` on this thread alone
    status            0: all went well; n > 0: task n - 1 met a bad index; NO_TEAM: the team has to be started first

Generated code has no globals, so one process can hold several instances of a program. Alignment: ARENA, PREPARED,
CONSTANT and VARIABLE buffers start at multiples of 64 bytes, INPUT and OUTPUT buffers at multiples of their itemsize.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from ctypes import c_char, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from enum import IntFlag

import numpy as np

from graphc.errors import CompileError
from graphc.schedule import Buffer, Space

NO_TEAM = -1


class TaskFlags(IntFlag):
    SERIAL = 1  # thread 0 does all units
    BARRIER = 2  # all threads meet before this task: it reads or overwrites what earlier tasks touched


class ContextFlags(IntFlag):
    SEQUENTIAL = 1  # so little work that waking the team would cost more


class Task(ctypes.Structure):
    """One row of a program's table. Read only, so instances can share it."""

    _fields_ = (
        ("function", c_void_p),
        ("slots", c_void_p),  # i32[]
        ("units", c_int64),
        ("grain", c_int64),  # units handed out at a time
        ("flags", c_int64),  # TaskFlags
    )


class Context(ctypes.Structure):
    """A running instance."""

    _fields_ = (
        ("buffers", c_void_p),  # ptr[]
        ("tasks", c_void_p),  # Task[]
        ("task_count", c_int64),
        ("flags", c_int64),  # ContextFlags
        ("counters", c_void_p),  # i64[task_count]: the next unit to hand out
        ("team", c_void_p),  # the team that runs it now
        ("status", c_int64),
        ("bad_index", c_int64),  # the value of the index that `status` is about
    )


class Team(ctypes.Structure):
    """What the threads of a team share. Words that different threads write lie on different cache lines.
    Zeros mean that the team is not started: what a forked child finds (MADV_WIPEONFORK)."""

    _fields_ = (
        ("sequence", c_int32),  # counts regions; workers wait for it to change
        ("_0", c_char * 60),
        ("arrived", c_int32),  # threads that have come to the barrier
        ("_1", c_char * 60),
        ("phase", c_int32),  # counts barriers; those who came early wait for it to change
        ("_2", c_char * 60),
        ("region_sleepers", c_int32),
        ("_3", c_char * 60),
        ("barrier_sleepers", c_int32),
        ("_4", c_char * 60),
        ("joined", c_int32),  # workers that have taken a number
        ("threads", c_int32),  # 0: not started
        ("spin", c_int32),  # pauses before a waiting thread sleeps
        ("left", c_int32),  # workers that have ended
        ("context", c_void_p),  # what this region runs; null: workers leave
    )


@dataclass(frozen=True)
class TaskSpec:
    """A kernel function with its buffers. `slots` are buffer numbers; `where` is the user's line, for messages; the rest
    is as in `Task`."""

    symbol: str
    slots: tuple[int, ...]
    units: int = 1
    grain: int = 1
    serial: bool = False
    barrier: bool = True
    where: str = ""

    @property
    def flags(self) -> TaskFlags:
        serial = TaskFlags.SERIAL if self.serial else TaskFlags(0)
        return serial | TaskFlags.BARRIER if self.barrier else serial

    def __post_init__(self) -> None:
        if self.units < 0 or self.grain < 1:
            raise CompileError("a task needs units ≥ 0 and a grain ≥ 1", got=str(self))


@dataclass(frozen=True)
class NativeProgram:
    """A compiled program, whole. `objects` maps the name of each object file, unique within the program, to its
    bytes; together they define the symbols that the tasks name. `constants` are the contents of the CONSTANT
    buffers by position. `sequential`: run on the calling thread and wake nobody."""

    objects: Mapping[str, bytes]
    tasks: tuple[TaskSpec, ...]
    prepare: tuple[TaskSpec, ...]
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    prepared_bytes: int
    constants: tuple[np.ndarray, ...]
    sequential: bool = False

    @property
    def symbols(self) -> tuple[str, ...]:
        """The kernel functions it calls, each once."""
        return tuple(dict.fromkeys(t.symbol for t in (*self.prepare, *self.tasks)))

    def in_space(self, space: Space) -> tuple[Buffer, ...]:
        """The buffers of a space, by position."""
        return tuple(sorted((b for b in self.buffers if b.space is space), key=lambda b: b.position))
