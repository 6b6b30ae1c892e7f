"""From a `Schedule` to a `NativeProgram`: steps to runs of tasks, loops and branches; scratch memory behind the arena;
barriers where tasks meet on memory; the packing of what a loop does not change before the loop.

In: a schedule and its compiled kernels. Out: tables. Knows neither how kernels are lowered nor how programs run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from graphc.dataclass import dataclass, field, replace
from graphc.errors import CompileError, Location
from graphc.schedule import (
    BranchStep,
    Buffer,
    CallStep,
    KernelStep,
    LoopStep,
    Schedule,
    Space,
    Step,
    Window,
    leaves,
)
from graphc.storage import ALIGNMENT
from graphc.types import TensorType

from ..emit.kernel_code import NativeKernel, NativeTask
from ..native import LIMITLESS, ControlRow, Function, NativeProgram, RowKind, Table, TaskSpec, Use
from ..native import rows as numbered
from .barriers import Access, barriers
from .build import CompiledKernel, Work, symbol_of


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
    changes. `steps`: each step as a table of its own, where that is known still."""

    native: NativeProgram
    origins: tuple[Origin, ...]
    prepare_origins: tuple[Origin, ...]
    updated: tuple[int, ...]
    steps: tuple[Table, ...] = ()

    @property
    def detached(self) -> BuiltProgram:
        """As it is told on another machine: users' lines without their folders, with their text."""
        return replace(
            self,
            origins=tuple(o.detached for o in self.origins),
            prepare_origins=tuple(o.detached for o in self.prepare_origins),
        )


def build_program(
    schedule: Schedule, kernels: Mapping[Work, CompiledKernel], windows: Sequence[Window] = ()
) -> BuiltProgram:
    """The program of a schedule whose kernels are compiled. `windows`: those that are set as a call begins."""
    builder = _Builder(schedule, kernels, windows)
    for step in schedule.prepare:
        builder.add(step, builder.prepare)
    ends = [_end(builder.main)]
    for step in schedule.steps:
        builder.add(step, builder.main)
        ends.append(_end(builder.main))
    return builder.finish(ends)


# What is being built: blocks of runs, loops and branches.


@dataclass(frozen=True)
class _Row:
    """A task on buffers, with the numbers of those that it may write. `gathers`: it may meet a bad index."""

    task: NativeTask
    buffers: tuple[int, ...]
    written: frozenset[int]
    origin: Origin
    gathers: bool


@dataclass(eq=False)
class _Run:
    rows: list[_Row] = field(default_factory=list)


@dataclass(eq=False)
class _Loop:
    """A loop with its blocks: start, condition and body. `varying`: the buffers that it changes or moves; what else
    its tasks pack is packed before."""

    step: LoopStep
    varying: frozenset[int]
    start: list[_Item] = field(default_factory=list)
    condition: list[_Item] = field(default_factory=list)
    body: list[_Item] = field(default_factory=list)

    @property
    def blocks(self) -> list[list[_Item]]:
        return [self.start, self.condition, self.body]

    @property
    def iterations(self) -> int:
        return SEVERAL if self.step.length is None else self.step.length


@dataclass(eq=False)
class _Branch:
    step: BranchStep
    blocks: list[list[_Item]] = field(default_factory=list)


_Item: TypeAlias = _Run | _Loop | _Branch

SEVERAL = 1 << 20  # iterations of a loop that nothing but its condition ends, for estimates


def _rows(items: Iterable[_Item]) -> Iterator[_Row]:
    """All tasks in some items, in order."""
    for item in items:
        if isinstance(item, _Run):
            yield from item.rows
        else:
            for block in item.blocks:
                yield from _rows(block)


def _cost(items: Iterable[_Item]) -> float:
    """Nanoseconds that one thread takes, roughly; a branch as long as its longest arm."""
    total = 0.0
    for item in items:
        match item:
            case _Run():
                total += sum(row.task.cost_ns for row in item.rows)
            case _Loop():
                total += _cost(item.start) + item.iterations * (_cost(item.condition) + _cost(item.body))
            case _Branch():
                total += max(map(_cost, item.blocks), default=0.0)
    return total


def _end(items: Sequence[_Item]) -> tuple[int, int]:
    """How far a block has come: its items, and the tasks of the last if that is a run."""
    last = items[-1] if items else None
    return len(items), len(last.rows) if isinstance(last, _Run) else 0


def _between(items: Sequence[_Item], start: tuple[int, int], end: tuple[int, int]) -> list[_Item]:
    """What was added to a block from one such point to another."""
    found: list[_Item] = []
    for number in range(max(0, start[0] - 1), end[0]):
        item = items[number]
        if not isinstance(item, _Run):
            found += [item] if number >= start[0] else []
            continue
        rows = item.rows[start[1] if number == start[0] - 1 else 0 : end[1] if number == end[0] - 1 else None]
        found += [_Run(rows)] if rows else []
    return found


def _function(task: NativeTask, work: Work, native: NativeKernel) -> Function:
    """What the task's function does to its slots."""
    slots, count = (*work.slots, *native.scratch), len(work.slots)

    def use(s: int) -> Use:
        return Use.SCRATCH if s >= count else Use.WRITE if s in work.written else Use.READ

    sizes = tuple(slots[s].size * slots[s].dtype.itemsize for s in task.slots)
    return Function(task.units, sizes, tuple(use(s) for s in task.slots))


class _Builder:
    def __init__(
        self, schedule: Schedule, kernels: Mapping[Work, CompiledKernel], windows: Sequence[Window]
    ) -> None:
        self.schedule = schedule
        self.kernels = kernels
        self.buffers = list(schedule.buffers)
        self.prepare: list[_Item] = []
        self.main: list[_Item] = []
        self.functions: dict[str, Function] = {}
        self.arena = schedule.arena_bytes
        self.prepared = schedule.prepared_bytes
        self.loops: list[_Loop] = []  # those that what is added now lies in, outermost first
        self.hoisted: list[int] = []  # scratch memory that a loop's iterations share, each with its own place
        first = LoopStep(0, None, None, None, (), (), (), tuple(windows), (), (), ())  # nothing but sets windows
        self.roots = roots((*schedule.prepare, first, *schedule.steps))
        if windows:
            self.add(first, self.main)
        self.changing = {r for step in schedule.leaves for b in step.written for r in self._behind(b)}

    def _behind(self, buffer: int) -> frozenset[int]:
        """The buffers whose memory it may be."""
        return self.roots.get(buffer, frozenset({buffer}))

    def add(self, step: Step, block: list[_Item]) -> None:
        """A step at the end of a block."""
        match step:
            case KernelStep():
                self._add_tasks(step, step.kernel, block)
            case CallStep():
                self._add_tasks(step, step.call, block)
            case LoopStep():
                loop = _Loop(step, self._varying(step))
                self.loops.append(loop)
                for steps, inside in zip(step.blocks, loop.blocks, strict=True):
                    for inner in steps:
                        self.add(inner, inside)
                self.loops.pop()
                block.append(loop)
            case BranchStep():
                branch = _Branch(step)
                for steps in step.arms:
                    branch.blocks.append([])
                    for inner in steps:
                        self.add(inner, branch.blocks[-1])
                block.append(branch)

    def _varying(self, step: LoopStep) -> frozenset[int]:
        """The buffers that a loop changes or moves, with those in it."""
        written = {r for leaf in leaves(step.blocks[0] + step.blocks[1] + step.blocks[2]) for b in leaf.written
                   for r in self._behind(b)}  # fmt: skip
        return frozenset(written | {w.buffer for w in _windows([step])})

    def _add_tasks(self, step: KernelStep | CallStep, work: Work, block: list[_Item]) -> None:
        """The tasks of a step. A task that reads nothing but what no call changes moves to the prepare table, and one
        that reads nothing that a loop changes before that loop."""
        native = self.kernels[work].native
        at = step.gathered_at if isinstance(step, KernelStep) else None
        origin = Origin(step.ops, at or next(iter(step.lines), None))
        goes_to = {task: self._block_for(task, step, block) for task in native.tasks}
        scratch = self._scratch(native, step, work, goes_to)
        buffers = (*step.buffers, *(b.number for b in scratch))
        count = len(work.slots)
        gathers = isinstance(step, KernelStep) and step.kernel.gathers
        for task in native.tasks:
            written = {buffers[s] for s in task.slots if s >= count or s in work.written}
            stored = [buffers[s] for s in task.slots if s in work.written]
            into = goes_to[task]
            if any(map(self._is_invariant, stored)) and into is self.main:
                raise CompileError("a call writes no memory that is to last", got=f"{task.symbol} of {step.ops}")
            row = _Row(task, tuple(buffers[s] for s in task.slots), frozenset(written), origin, gathers)
            if not into or not isinstance(into[-1], _Run):
                into.append(_Run())
            into[-1].rows.append(row)  # type: ignore[union-attr]
            self.functions[task.symbol] = _function(task, work, native)

    def _block_for(self, task: NativeTask, step: KernelStep | CallStep, block: list[_Item]) -> list[_Item]:
        """The block that a task goes to."""
        if not task.prepares:
            return block
        made_from = step.buffers[task.slots[0]]
        outside = next((loop for loop in self.loops if made_from not in loop.varying), None)
        if self._is_invariant(made_from) and (not self.loops or outside is self.loops[0]):
            return self.prepare
        return block if outside is None else outside.start

    def _is_invariant(self, buffer: int) -> bool:
        """Whether no call changes the buffer's contents."""
        space = self.buffers[buffer].space
        return (
            space is Space.CONSTANT
            or space is Space.PREPARED
            or (space is Space.VARIABLE and buffer not in self.changing)
        )

    def _scratch(
        self, native: NativeKernel, step: KernelStep | CallStep, work: Work, goes_to: Mapping[NativeTask, list[_Item]]
    ) -> list[Buffer]:
        """Scratch memory: behind the arena, where steps share it; behind that, what a task before a loop fills; or
        invariant, where a task that prepares fills it."""
        offset = self.schedule.arena_bytes
        filled_by = {s: t for t in native.tasks if t.prepares for s in t.slots[1:]}
        result = []
        for number, slot in enumerate(native.scratch, len(work.slots)):
            type_ = TensorType(slot.dtype, (slot.size,))
            size = -(-type_.nbytes // ALIGNMENT) * ALIGNMENT
            into = goes_to[filled_by[number]] if number in filled_by else None
            place, space = 0, Space.ARENA
            if into is self.prepare:
                place, space, self.prepared = self.prepared, Space.PREPARED, self.prepared + size
            elif any(into is loop.start for loop in self.loops):
                self.hoisted.append(len(self.buffers))
            else:
                place, offset = offset, offset + size
            result.append(Buffer(len(self.buffers), type_, space, offset=place, name=slot.name))
            self.buffers.append(result[-1])
        self.arena = max(self.arena, offset)
        return result

    def finish(self, ends: Sequence[tuple[int, int]]) -> BuiltProgram:
        for number in self.hoisted:
            buffer = self.buffers[number]
            self.buffers[number] = replace(buffer, offset=self.arena)
            self.arena += -(-buffer.type.nbytes // ALIGNMENT) * ALIGNMENT
        main, prepare = self._table(self.main), self._table(self.prepare)
        used = {k: c for k, c in self.kernels.items() if c.native.tasks}
        objects = {symbol_of(k): c.code for k, c in used.items()}
        objects.update((name, part) for c in used.values() for name, part in c.shared.items())
        native = NativeProgram(
            objects,
            main,
            prepare,
            tuple(self.buffers),
            self.arena,
            self.prepared,
            tuple(literal.array for literal in self.schedule.constants),
            self._interruptible(main),
            self.functions,
        )
        updated = (b.position for b in native.in_space(Space.VARIABLE) if b.number in self.changing)
        origins, prepare_origins = (tuple(r.origin for r in _rows(items)) for items in (self.main, self.prepare))
        alone = {id(row): run.alone for run, rows in self._runs(main) for row in rows}
        steps = tuple(
            self._table(_between(self.main, a, b), alone) for a, b in pairwise(ends)
        )
        return BuiltProgram(native, origins, prepare_origins, tuple(updated), steps)

    def _table(self, items: Sequence[_Item], alone: Mapping[int, bool] | None = None) -> Table:
        return _Flat(self._specs, alone).table(items)

    def _runs(self, table: Table) -> Iterator[tuple[ControlRow, list[_Row]]]:
        """The runs of the main table, with their rows."""
        rows = list(_rows(self.main))
        for run in table.runs:
            yield run, rows[run.task : run.task + run.count]

    def _interruptible(self, table: Table) -> int:
        """How many tasks may be cut off: those that are over before any that writes a Variable may start."""
        if _cost(self.main) < LONG_NS:
            return 0
        variables = {b.number for b in self.buffers if b.space is Space.VARIABLE}

        def writes(row: _Row) -> bool:
            return any(self._behind(b) & variables for b in row.written)

        count = 0
        for item in self.main:
            rows = list(_rows([item]))
            writers = [n for n, row in enumerate(rows) if writes(row)]
            if not writers:
                count += len(rows)
                continue
            if isinstance(item, _Run):
                starts = [number.ready for number in numbered(table.tasks[count : count + len(rows)])]
                count += sum(start < starts[writers[0]] for start in starts)
            break
        return count

    def _specs(self, rows: Sequence[_Row]) -> tuple[TaskSpec, ...]:
        """The tasks of a run."""
        waits = barriers(self._access(row) for row in rows)
        return tuple(
            TaskSpec(
                row.task.symbol, row.buffers, row.task.units, row.task.grain, row.task.serial, barrier,
                str(row.origin.where or ""),
            )
            for row, barrier in zip(rows, waits, strict=True)
        )  # fmt: skip

    def _access(self, row: _Row) -> Access:
        buffers, written = (
            tuple(self.buffers[r] for b in group for r in self._behind(b)) for group in (row.buffers, row.written)
        )
        return Access(buffers, written, row.task.serial, row.gathers)


class _Flat:
    """Items to a table, whose rows nest by where they end."""

    def __init__(
        self, specs: Callable[[Sequence[_Row]], tuple[TaskSpec, ...]], alone: Mapping[int, bool] | None
    ) -> None:
        """`specs`: the tasks of a run; `alone`: whether one thread does each, if that is decided already."""
        self.specs = specs
        self.alone = alone
        self.tasks: list[TaskSpec] = []
        self.rows: list[ControlRow] = []
        self.windows: list[Window] = []
        self.swaps: list[tuple[int, int]] = []

    def table(self, items: Sequence[_Item]) -> Table:
        self.block(items)
        return Table(tuple(self.tasks), tuple(self.rows), tuple(self.windows), tuple(self.swaps))

    def block(self, items: Sequence[_Item]) -> None:
        for item in items:
            if isinstance(item, _Run):
                self.run(item)
            else:
                self.steer(item)

    def run(self, run: _Run) -> None:
        specs = self.specs(run.rows)
        alone = not _pays_to_share(run.rows, specs) if self.alone is None else self.alone[id(run.rows[0])]
        asks = _cost([run]) >= LONG_RUN_NS
        number, task = len(self.rows), len(self.tasks)
        self.rows.append(ControlRow(RowKind.RUN, number + 1, task, len(specs), alone, asks))
        self.tasks += specs

    def steer(self, item: _Loop | _Branch) -> None:
        """The row of a loop or branch, and all in it."""
        number, task = len(self.rows), len(self.tasks)
        window, swap = len(self.windows), len(self.swaps)
        self.rows.append(ControlRow(RowKind.LOOP, 0, task))
        if isinstance(item, _Loop):
            self.windows += item.step.windows
            self.swaps += item.step.swaps
        for block in item.blocks:
            place, first = len(self.rows), len(self.tasks)
            self.rows.append(ControlRow(RowKind.BLOCK, 0, first))
            self.block(block)
            self.rows[place] = ControlRow(RowKind.BLOCK, len(self.rows), first)
        end = len(self.rows)
        if isinstance(item, _Branch):
            self.rows[number] = ControlRow(RowKind.BRANCH, end, task, test=item.step.index)
            return
        step = item.step
        length = LIMITLESS if step.length is None else step.length
        limit, test, counter = (-1 if b is None else b for b in (step.limit, step.predicate, step.counter))
        self.rows[number] = ControlRow(
            RowKind.LOOP, end, task, length=length, limit=limit, test=test, counter=counter,
            window=window, windows=len(step.windows), swap=swap, swaps=len(step.swaps),
        )  # fmt: skip


def _windows(steps: Iterable[Step]) -> Iterator[Window]:
    """The windows of all loops in some steps, outer ones first."""
    for step in steps:
        if isinstance(step, LoopStep):
            yield from step.windows
        for block in step.blocks:
            yield from _windows(block)


def roots(steps: Sequence[Step]) -> dict[int, frozenset[int]]:
    """For each window, the buffers into which it may point that are no windows themselves."""
    found: dict[int, frozenset[int]] = {}
    pending = list(steps)
    while pending:
        step = pending.pop(0)
        if isinstance(step, LoopStep):
            for window in step.windows:
                found[window.buffer] = found.get(window.of, frozenset({window.of}))
            for a, b in step.swaps:
                found[a] = found[b] = found[a] | found[b]
        for block in step.blocks:
            pending += block
    return found


LONG_NS = 2e6  # a call that takes longer, roughly, looks for Ctrl-C now and then
LONG_RUN_NS = 1e5  # a run that takes longer does so between its tiles; in loops of shorter ones, iterations do
MEETING_NS = 4_000.0  # what it costs threads to meet: a barrier, and fetching what the others have written


def _pays_to_share(rows: Sequence[_Row], tasks: Sequence[TaskSpec]) -> bool:
    """Whether two threads save more in the tasks that they share than it costs them to meet between tasks. Small
    runs, and those of mostly small tasks, are done sooner by one."""
    shared = sum(row.task.cost_ns for row in rows if not row.task.serial)
    meetings = len({row.ready for row in numbered(tasks)})
    return shared / 2 > meetings * MEETING_NS
