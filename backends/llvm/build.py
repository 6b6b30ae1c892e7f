"""From a `Schedule` to a `NativeProgram`: each distinct kernel compiled once, or found in the cache; every step a row
of tasks; scratch memory behind the arena; barriers where tasks meet on memory.

Knows neither how kernels are lowered nor how programs run.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from graphc.dataclass import dataclass, replace
from graphc.errors import CompileError, Location, UnsupportedError
from graphc.kernel import Kernel, KernelKind, Slot
from graphc.schedule import Buffer, KernelStep, Schedule, Space, Step
from graphc.settings import Check, Settings
from graphc.storage import ALIGNMENT
from graphc.types import TensorType, as_dtype

from . import jit
from .barriers import Access, barriers
from .cache import ObjectCache, cache_key
from .kernel_code import NativeKernel, NativeTask
from .native import Function, NativeProgram, TaskSpec, Use
from .native import rows as table
from .target import Target
from .team import usable_threads


@dataclass(frozen=True)
class CompiledKernel:
    """A kernel's object file with what is needed to run it. `native.ir` is empty where it came from the cache."""

    native: NativeKernel
    code: bytes


def compile_kernels(
    kernels: Iterable[Kernel], target: Target, cache: ObjectCache, settings: Settings
) -> dict[Kernel, CompiledKernel]:
    """Lower and compile each kernel that the cache does not hold. Raises UnsupportedError for what can't be lowered."""
    found: dict[Kernel, CompiledKernel] = {}
    fresh: dict[Kernel, str] = {}
    kernels = tuple(dict.fromkeys(kernels))
    for kernel in kernels:
        key = cache_key("kernel", kernel.digest, repr(target))  # with the sizes of caches, for which tiles are chosen
        payload = cache.get(key)
        if payload is not None:
            found[kernel] = _unpack(payload)
        else:
            fresh[kernel] = key
    for kernel, compiled in _compiled(sorted(fresh, key=_lightness), target, settings):
        found[kernel] = compiled
        cache.put(fresh[kernel], _pack(compiled))
    if "cache" in settings.log:
        where = cache.folder or "no folder"
        text = f"{len(found) - len(fresh)} of {len(found)} kernels found in {where}, the others compiled"
        print(f"graphc: cache: {text}", file=sys.stderr)
    return {kernel: found[kernel] for kernel in kernels}


def _lightness(kernel: Kernel) -> tuple[bool, int]:
    """Sorts kernels so that those come first which take longest to compile, and no thread has to wait for one long."""
    return kernel.kind is not KernelKind.CONTRACTION, -len(kernel.values)


def _compiled(
    kernels: Sequence[Kernel], target: Target, settings: Settings
) -> Iterator[tuple[Kernel, CompiledKernel]]:
    """The kernels, lowered and compiled by several threads."""
    if not kernels:
        return
    from .lower import lower  # a start that finds all in the cache is spared the code generator

    natives: dict[Kernel, NativeKernel] = {}

    def text(kernel: Kernel) -> str:
        natives[kernel] = lower(kernel, target, symbol_of(kernel))
        return natives[kernel].ir

    verify = settings.check is Check.ALL
    threads = settings.threads or usable_threads()
    modules = [functools.partial(text, kernel) for kernel in kernels]
    objects = jit.compile_objects(modules, target, verify=verify, threads=threads)
    for kernel, code in zip(kernels, objects, strict=True):
        yield kernel, CompiledKernel(natives[kernel], code)


LONG_NS = 2e6  # a call that takes longer, roughly, looks for Ctrl-C now and then
MEETING_NS = 4_000.0  # what it costs threads to meet: a barrier, and fetching what the others have written


def _pays_to_share(rows: Sequence[_Row], tasks: Sequence[TaskSpec]) -> bool:
    """Whether two threads save more in the tasks that they share than it costs them to meet between tasks. Small
    programs, and those of mostly small tasks, are done sooner by one."""
    shared = sum(row.task.cost_ns for row in rows if not row.task.serial)
    meetings = len({row.ready for row in table(tasks)})
    return shared / 2 > meetings * MEETING_NS


def symbol_of(kernel: Kernel) -> str:
    """What the functions of a kernel are called, or begin with."""
    return f"kernel_{kernel.digest[:16]}"


def _pack(compiled: CompiledKernel) -> bytes:
    """A line of JSON and the object file."""
    native = compiled.native
    header = {
        "tasks": [vars(t) for t in native.tasks],
        "scratch": [(str(s.dtype), s.size, s.name) for s in native.scratch],
        "plans": native.plans,
        "notes": native.notes,
    }
    return json.dumps(header).encode() + b"\n" + compiled.code


def _unpack(payload: bytes) -> CompiledKernel:
    line, _, code = payload.partition(b"\n")
    header = json.loads(line)
    tasks = tuple(NativeTask(**{**t, "slots": tuple(t["slots"])}) for t in header["tasks"])
    scratch = tuple(Slot(as_dtype(d), size, name) for d, size, name in header["scratch"])
    return CompiledKernel(
        NativeKernel("", tasks, scratch, tuple(header["plans"]), tuple(header["notes"])), code
    )


@dataclass(frozen=True)
class Origin:
    """Where a task comes from: the ops that it computes, and the first user's line of them."""

    ops: tuple[str, ...]
    where: Location | None

    @property
    def detached(self) -> Origin:
        return Origin(self.ops, self.where and self.where.detached)


@dataclass(frozen=True)
class BuiltProgram:
    """A program, the origin of each of its tasks and of those that prepare, and the positions of the variables that it
    changes. `ends`: how many tasks there are up to the end of each step, where that is known still."""

    native: NativeProgram
    origins: tuple[Origin, ...]
    prepare_origins: tuple[Origin, ...]
    updated: tuple[int, ...]
    ends: tuple[int, ...] = ()

    @property
    def detached(self) -> BuiltProgram:
        """As it is told on another machine: users' lines without their folders, with their text."""
        return replace(
            self,
            origins=tuple(o.detached for o in self.origins),
            prepare_origins=tuple(o.detached for o in self.prepare_origins),
        )


def build_program(schedule: Schedule, kernels: Mapping[Kernel, CompiledKernel]) -> BuiltProgram:
    """The program of a schedule whose kernels are compiled."""
    builder = _Builder(schedule, kernels)
    for step in schedule.prepare:
        builder.add(step, builder.prepare)
    for step in schedule.steps:
        builder.add(step, builder.main)
        builder.ends.append(len(builder.main))
    return builder.finish()


@dataclass(frozen=True)
class _Row:
    """A task on buffers, with the numbers of those that it may write. `gathers`: it may meet a bad index."""

    task: NativeTask
    buffers: tuple[int, ...]
    written: frozenset[int]
    origin: Origin
    gathers: bool


def _function(task: NativeTask, kernel: Kernel, native: NativeKernel) -> Function:
    """What the task's function does to its slots."""
    slots, count = (*kernel.slots, *native.scratch), len(kernel.slots)

    def use(s: int) -> Use:
        return Use.SCRATCH if s >= count else Use.WRITE if s in kernel.written else Use.READ

    sizes = tuple(slots[s].size * slots[s].dtype.itemsize for s in task.slots)
    return Function(task.units, sizes, tuple(use(s) for s in task.slots))


class _Builder:
    def __init__(self, schedule: Schedule, kernels: Mapping[Kernel, CompiledKernel]) -> None:
        self.schedule = schedule
        self.kernels = kernels
        self.buffers = list(schedule.buffers)
        self.prepare: list[_Row] = []
        self.main: list[_Row] = []
        self.functions: dict[str, Function] = {}
        self.ends: list[int] = []
        self.arena = schedule.arena_bytes
        self.prepared = schedule.prepared_bytes
        self.changing = {b for step in schedule.leaves for b in step.written}

    def add(self, step: Step, rows: list[_Row]) -> None:
        """The tasks of a step. A task that reads nothing but what no call changes moves to the prepare table."""
        if not isinstance(step, KernelStep):
            raise UnsupportedError("the llvm backend runs kernels only", got=str(step))
        native = self.kernels[step.kernel].native
        scratch = self._scratch(native, step)
        buffers = (*step.buffers, *(b.number for b in scratch))
        count = len(step.kernel.slots)
        origin = Origin(step.ops, step.gathered_at or next(iter(step.lines), None))
        for task in native.tasks:
            written = {buffers[s] for s in task.slots if s >= count or s in step.kernel.written}
            table = self.prepare if task.prepares and self._is_lasting(buffers[task.slots[0]]) else rows
            own = tuple(buffers[s] for s in task.slots)
            stored = [s for s in task.slots if s in step.kernel.written]
            if table is self.main and any(self._is_lasting(buffers[s]) for s in stored):
                raise CompileError("a call writes no memory that is to last", got=f"{task.symbol} of {step.ops}")
            table.append(_Row(task, own, frozenset(written), origin, step.kernel.gathers))
            self.functions[task.symbol] = _function(task, step.kernel, native)

    def _is_lasting(self, buffer: int) -> bool:
        """Whether no call changes the buffer's contents."""
        space = self.buffers[buffer].space
        return (
            space is Space.CONSTANT
            or space is Space.PREPARED
            or (space is Space.VARIABLE and buffer not in self.changing)
        )

    def _scratch(self, native: NativeKernel, step: KernelStep) -> list[Buffer]:
        """Scratch memory: behind the arena, where steps share it; or lasting, where a task that prepares fills it."""
        offset = self.schedule.arena_bytes
        lasting = {
            s
            for t in native.tasks
            if t.prepares and self._is_lasting(step.buffers[t.slots[0]])
            for s in t.slots[1:]
        }
        result = []
        for number, slot in enumerate(native.scratch, len(step.kernel.slots)):
            type_ = TensorType(slot.dtype, (slot.size,))
            size = -(-type_.nbytes // ALIGNMENT) * ALIGNMENT
            if number in lasting:
                place, space, self.prepared = self.prepared, Space.PREPARED, self.prepared + size
            else:
                place, space, offset = offset, Space.ARENA, offset + size
            result.append(Buffer(len(self.buffers), type_, space, offset=place, name=slot.name))
            self.buffers.append(result[-1])
        self.arena = max(self.arena, offset)
        return result

    def finish(self) -> BuiltProgram:
        compiled = self.kernels
        objects = {symbol_of(k): c.code for k, c in compiled.items() if c.native.tasks}
        tasks, prepare = self._specs(self.main), self._specs(self.prepare)
        native = NativeProgram(
            objects,
            tasks,
            prepare,
            tuple(self.buffers),
            self.arena,
            self.prepared,
            tuple(literal.array for literal in self.schedule.constants),
            not _pays_to_share(self.main, tasks),
            self._interruptible(tasks),
            self.functions,
        )
        updated = (b.position for b in native.in_space(Space.VARIABLE) if b.number in self.changing)
        origins, prepare_origins = (tuple(r.origin for r in rows) for rows in (self.main, self.prepare))
        return BuiltProgram(native, origins, prepare_origins, tuple(updated), tuple(self.ends))

    def _interruptible(self, tasks: Sequence[TaskSpec]) -> int:
        """How many tasks may be cut off: those that are over before any that writes a Variable may start."""
        if sum(row.task.cost_ns for row in self.main) < LONG_NS:
            return 0
        starts = [row.ready for row in table(tasks)]
        variables = {b.number for b in self.buffers if b.space is Space.VARIABLE}
        writers = [n for n, row in enumerate(self.main) if row.written & variables]
        return sum(start < starts[writers[0]] for start in starts) if writers else len(tasks)

    def _specs(self, rows: Sequence[_Row]) -> tuple[TaskSpec, ...]:
        waits = barriers(self._access(row) for row in rows)
        return tuple(
            TaskSpec(
                row.task.symbol, row.buffers, row.task.units, row.task.grain, row.task.serial, barrier,
                str(row.origin.where or ""),
            )
            for row, barrier in zip(rows, waits, strict=True)
        )  # fmt: skip

    def _access(self, row: _Row) -> Access:
        buffers, written = (tuple(self.buffers[b] for b in group) for group in (row.buffers, row.written))
        return Access(buffers, written, row.task.serial, row.gathers)
