"""The native ABI: what a compiled program is made of, and the records that generated code and the runtime share.

In: nothing but numbers. Out: `NativeProgram` (objects, tasks, buffers), and the binary records as ctypes structures.
Every offset that IR text, C text or Python uses comes from these structures. Nothing here allocates or runs.

    kernel function   void f(ptr buffers, ptr slots, i64 low, i64 high, i64 task, ptr context)
        buffers       ptr[]: the address of every buffer of the program
        slots         i32[]: slot k of the kernel is the memory at buffers[slots[k]]
        low, high     the work units to do; units may run in any order, on any thread, in ranges of any length
        task          number of the task, reported with a bad index
        context       the running instance; kernels touch `status` and `bad_index` only, through `@report`
    call              i64 graphc_call(ptr context, ptr team): runs the program, on the team or on this thread alone
    status            0: all went well; n > 0: task n - 1 met a bad index; NO_TEAM: the team has to be started first;
                      INTERRUPTED: whoever called wants to stop, and no Variable has been written yet

A program is a table of tasks, and a table of rows that steer through it: runs of tasks, loops and branches, which
the calling thread walks alone. Only runs of tasks are for the team, each as one region. So between regions, where loops
move addresses on, nobody is at work, and how long a loop goes on is of no matter to the counts of tiles.

    RUN     tasks, in order as far as they wait for each other
    LOOP    three blocks: once at the start, then in turn the condition and the body
    BRANCH  a block for each arm
    BLOCK   the rows up to its end; only in loops and branches

In a region, tasks are cut into tiles of `grain` units, which threads take one by one. A task starts as soon as the
first `ready` tiles of the run are finished. So a thread that holds no tile delays nobody, be it asleep, stopped by the
system, or late. Taking and counting are tagged with the number of the region: who comes from an earlier one finds
nothing to take.

Generated code has no globals, so one process can hold several instances of a program. Alignment: ARENA, PREPARED,
CONSTANT and VARIABLE buffers start at multiples of 64 bytes, INPUT, OUTPUT and WINDOW buffers at multiples of their
itemsize.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from ctypes import c_char, c_int32, c_int64, c_void_p
from enum import Enum, IntFlag
from typing import NamedTuple

import numpy as np

from graphc.dataclass import dataclass, field
from graphc.errors import CompileError
from graphc.schedule import Buffer, Space, Window

NO_TEAM = -1
INTERRUPTED = -4  # -2, -3 and -5 are `array_call`'s


class ContextFlags(IntFlag):
    SEQUENTIAL = 1  # all runs are for the calling thread alone: no team is needed
    FLUSH = 2  # subnormal floats are taken as 0, and results that would be such are 0


class Task(ctypes.Structure):
    """One task of a program. Read only, so instances can share it. `ready` and `complete` count tiles."""

    _fields_ = (
        ("function", c_void_p),
        ("slots", c_void_p),  # i32[]
        ("units", c_int64),
        ("grain", c_int64),  # units of a tile
        ("ready", c_int64),  # tiles of its run that are finished before it starts
        ("complete", c_int64),  # tiles of it and all others that start with `ready`, and of those before
    )


class RowKind(Enum):
    RUN = "run"
    LOOP = "loop"
    BRANCH = "branch"
    BLOCK = "block"

    @property
    def number(self) -> int:
        """What it is in memory."""
        return list(RowKind).index(self)


class Control(ctypes.Structure):
    """One row of what steers a program. Read only. `ControlRow` says more of each field."""

    _fields_ = (
        ("kind", c_int64),
        ("end", c_int64),
        ("task", c_int64),
        ("count", c_int64),
        ("alone", c_int64),
        ("asks", c_int64),
        ("length", c_int64),
        ("limit", c_int64),
        ("test", c_int64),
        ("counter", c_int64),
        ("window", c_int64),
        ("windows", c_int64),
        ("swap", c_int64),
        ("swaps", c_int64),
    )


class WindowRow(ctypes.Structure):
    """A `graphc.schedule.Window`. Read only."""

    _fields_ = (("buffer", c_int64), ("of", c_int64), ("stride", c_int64), ("offset", c_int64))


class Swap(ctypes.Structure):
    """Two windows that change places after each iteration. Read only."""

    _fields_ = (("first", c_int64), ("second", c_int64))


class Context(ctypes.Structure):
    """A running instance."""

    _fields_ = (
        ("buffers", c_void_p),  # ptr[]
        ("tasks", c_void_p),  # Task[]
        ("rows", c_void_p),  # Control[]
        ("row_count", c_int64),
        ("windows", c_void_p),  # WindowRow[]
        ("swaps", c_void_p),  # Swap[]
        ("flags", c_int64),  # ContextFlags
        ("taken", c_void_p),  # i64[], for each task: region << 32 | tiles of it that were taken
        ("run", c_void_p),  # Control: what this region, or the last one, carries out
        ("status", c_int64),
        ("bad_index", c_int64),  # the value of the index that `status` is about
        ("poll", c_void_p),  # i32 (): whether to stop; asked now and then by the calling thread …
        ("polled", c_int64),  # … before a tile of the first so many tasks
        ("next_poll", c_int64),  # when to ask again, in nanoseconds of a clock of its own
    )


class Team(ctypes.Structure):
    """What the threads of a team share. Words that different threads write lie on different cache lines.
    Zeros mean that the team is not started: what a forked child finds (MADV_WIPEONFORK)."""

    _fields_ = (
        ("region", c_int32),  # counts regions; workers wait for it to change
        ("_0", c_char * 60),
        ("finished", c_int64),  # region << 32 | tiles that are finished; threads wait for it to grow
        ("_1", c_char * 56),
        ("region_sleepers", c_int32),
        ("_2", c_char * 60),
        ("tile_sleepers", c_int32),
        ("_3", c_char * 60),
        ("active", c_int32),  # workers that may hold the address of a context
        ("_4", c_char * 60),
        ("context", c_void_p),  # what this region runs; null between regions
        ("threads", c_int32),  # 0: not started
        ("spin", c_int32),  # pauses before a waiting thread sleeps
        ("stop", c_int32),  # 1: workers are to end
        ("left", c_int32),  # workers that have ended
    )


@dataclass(frozen=True)
class TaskSpec:
    """A kernel function with its buffers.

    `slots`: buffer numbers. `serial`: one thread does all units, and all earlier serial tasks come first. `barrier`:
    all earlier tasks come first. `where`: the user's line, for messages.
    """

    symbol: str
    slots: tuple[int, ...]
    units: int = 1
    grain: int = 1
    serial: bool = False
    barrier: bool = True
    where: str = ""

    def __post_init__(self) -> None:
        if self.units < 0 or self.grain < 1:
            raise CompileError("a task needs units ≥ 0 and a grain ≥ 1", got=str(self))


class Use(Enum):
    """What a function does with a slot."""

    READ = "read"
    WRITE = "write"
    SCRATCH = "scratch"  # memory between tasks, which nobody else looks at


@dataclass(frozen=True)
class Function:
    """What a task must give a function: so many units, and for each slot at least so many bytes, for this access."""

    units: int
    nbytes: tuple[int, ...]
    uses: tuple[Use, ...]


class Row(NamedTuple):
    """The numbers of a `Task`."""

    units: int
    grain: int
    ready: int
    complete: int


def rows(tasks: Sequence[TaskSpec]) -> list[Row]:
    """The numbers of each task of a run. Tasks between two barriers form a phase: they start together."""
    grains = [max(1, t.units) if t.serial else t.grain for t in tasks]
    tiles = [-(-t.units // grain) for t, grain in zip(tasks, grains, strict=True)]
    phases: list[list[int]] = [[]]
    has_serial = False
    for number, task in enumerate(tasks):
        if task.barrier or (task.serial and has_serial):
            phases.append([])
            has_serial = False
        phases[-1].append(number)
        has_serial |= task.serial
    found: list[Row] = []
    ready = 0
    for phase in phases:
        complete = ready + sum(tiles[n] for n in phase)
        found += [Row(tasks[n].units, grains[n], ready, complete) for n in phase]
        ready = complete
    if ready >= 1 << 32:
        raise CompileError("a run of tasks has at most 2³² tiles", got=str(ready), hint="a larger grain")
    return found


LIMITLESS = (1 << 63) - 1  # iterations of a loop that only its condition ends


@dataclass(frozen=True)
class ControlRow:
    """One row of what steers a program. `end`: the number of the row behind it and all that belong to it. `task`: the
    first task in it, or that would be.

    RUN: `count` tasks; `alone`: by the calling thread, without the team; `asks`: whether it looks for Ctrl-C between
    tiles. LOOP: at most `length` iterations; buffers as in `LoopStep`, the predicate in `test`, −1 for none; its
    windows, and pairs of these that change places, as ranges of the table's. BRANCH: the index is in `test`.
    """

    kind: RowKind
    end: int
    task: int
    count: int = 0
    alone: bool = False
    asks: bool = False
    length: int = 0
    limit: int = -1
    test: int = -1
    counter: int = -1
    window: int = 0
    windows: int = 0
    swap: int = 0
    swaps: int = 0


@dataclass(frozen=True)
class Table:
    """Tasks, and what steers through them."""

    tasks: tuple[TaskSpec, ...] = ()
    rows: tuple[ControlRow, ...] = ()
    windows: tuple[Window, ...] = ()
    swaps: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def of(tasks: Sequence[TaskSpec], alone: bool = False, asks: bool = True) -> Table:
        """The table of a single run."""
        run = ControlRow(RowKind.RUN, 1, 0, len(tasks), alone, asks)
        return Table(tuple(tasks), (run,) if tasks else ())

    @property
    def runs(self) -> Iterator[ControlRow]:
        return (row for row in self.rows if row.kind is RowKind.RUN)

    @property
    def is_sequential(self) -> bool:
        """Whether the calling thread does all of it alone."""
        return all(run.alone for run in self.runs)

    def numbers(self) -> list[Row]:
        """The numbers of each task; the runs hold all tasks, in order."""
        return [number for run in self.runs for number in rows(self.tasks[run.task : run.task + run.count])]

    def records(self) -> list[tuple[type[ctypes.Structure], list[tuple[int, ...]]]]:
        """The numbers of its rows, windows and swaps, each with the record that holds them."""
        names = [name for name, _ in Control._fields_[1:]]
        rows = [(row.kind.number, *(int(getattr(row, name)) for name in names)) for row in self.rows]
        windows = [(w.buffer, w.of, w.stride, w.offset) for w in self.windows]
        return [(Control, rows), (WindowRow, list(windows)), (Swap, list(self.swaps))]

    @property
    def buffers(self) -> set[int]:
        """The numbers of all buffers that it names."""
        steering = {b for row in self.rows for b in (row.limit, row.test, row.counter) if b >= 0}
        windows = {b for w in self.windows for b in (w.buffer, w.of)}
        return steering | windows | {s for task in self.tasks for s in task.slots}


@dataclass(frozen=True)
class NativeProgram:
    """A compiled program, whole. `objects` maps the name of each object file, unique within the program, to its
    bytes; together they define the symbols that the tasks name. `constants` are the contents of the CONSTANT
    buffers by position. `interruptible`: the number of tasks before the first that may write a Variable, if all take so
    long that one wants to stop them. `functions`: by symbol, for those who check tables that come from outside."""

    objects: Mapping[str, bytes]
    main: Table
    prepare: Table
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    prepared_bytes: int
    constants: tuple[np.ndarray, ...]
    interruptible: int = 0
    functions: Mapping[str, Function] = field(default_factory=dict)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The kernel functions it calls, each once."""
        return tuple(dict.fromkeys(t.symbol for t in (*self.prepare.tasks, *self.main.tasks)))

    def in_space(self, space: Space) -> tuple[Buffer, ...]:
        """The buffers of a space, by position."""
        return tuple(sorted((b for b in self.buffers if b.space is space), key=lambda b: b.position))
