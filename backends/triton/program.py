"""Schedule → program: every launch with its pointers bound to regions of memory.

Interpreting and launching on a GPU carry out the same program. Regions: one for each caller's array, the arena,
the prepared buffers, scratch memory, and one status for each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from graphc.dataclass import dataclass, replace
from graphc.errors import GraphcIndexError
from graphc.kernel import Call, Kernel
from graphc.schedule import BranchStep, CallStep, KernelStep, LoopStep, Schedule, Space, Step, leaves

from .calls import work_source
from .control import BoundLaunch, HostBranch, HostLoop, HostWindow, Item, Region
from .launches import KernelSource, Role

STATUS_BYTES = 4
ARENA, PREPARED = 0, 1  # the first regions
ALIGNMENT = 64  # of every buffer, in bytes; schedules promise it for the arena


@dataclass(frozen=True)
class SourceModule:
    """The source of a kernel. `loose`: the slots that may start at any element; the others start at multiples of 16
    bytes."""

    source: KernelSource
    loose: frozenset[int]


@dataclass(frozen=True)
class DeviceProgram:
    """A schedule in Triton. `sizes` are the regions' bytes; `regions` says which one a caller's buffer is.

    `steps` come first, then `last`, whose launches depend on nothing that the host would have to read: they meet no bad
    index, and are known beforehand. `early`: the positions of Variables that are written sooner than that.
    `reporting`: the steps that may meet a bad index, each with a status of its own, in order.
    """

    modules: tuple[SourceModule, ...]
    prepare: tuple[Item, ...]
    steps: tuple[Item, ...]
    last: tuple[Item, ...]
    early: frozenset[int]
    sizes: tuple[int, ...]
    regions: dict[int, int]
    status: int
    reporting: tuple[KernelStep | CallStep, ...]


def scratch_places(source: KernelSource) -> tuple[list[int], int]:
    """Where each scratch buffer of a kernel starts, and the bytes of all."""
    starts, end = [], 0
    for slot in source.scratch:
        starts.append(end)
        end += -(-slot.size * slot.dtype.itemsize // ALIGNMENT) * ALIGNMENT
    return starts, end


class _Binder:
    """Binds a schedule's steps, giving out regions."""

    def __init__(self, schedule: Schedule) -> None:
        self.buffers = {b.number: b for b in schedule.buffers}
        self.sizes: list[int] = [schedule.arena_bytes, schedule.prepared_bytes]  # of regions ARENA and PREPARED
        self.regions: dict[int, int] = {}
        for buffer in schedule.buffers:
            if buffer.space is Space.WINDOW:
                continue
            if buffer.space is Space.ARENA or buffer.space is Space.PREPARED:
                self.regions[buffer.number] = ARENA if buffer.space is Space.ARENA else PREPARED
            else:
                self.regions[buffer.number] = self.region(buffer.type.nbytes)
        self.scratch = self.region(0)
        self.status = self.region(0)
        self.reporting: list[KernelStep | CallStep] = []
        self.modules: dict[SourceModule, int] = {}

    def region(self, size: int) -> int:
        self.sizes.append(size)
        return len(self.sizes) - 1

    def bind(self, steps: Iterable[Step]) -> tuple[Item, ...]:
        """The launches of steps, in their loops and branches."""
        items: list[Item] = []
        for step in steps:
            match step:
                case KernelStep():
                    items += self._launches(step, step.kernel)
                case CallStep():
                    items += self._launches(step, step.call)
                case LoopStep():
                    items.append(self._loop(step))
                case BranchStep():
                    items.append(HostBranch(self.place(step.index), tuple(map(self.bind, step.arms))))
        return tuple(items)

    def place(self, number: int) -> Region:
        """Where a buffer is."""
        buffer = self.buffers[number]
        if buffer.space is Space.WINDOW:
            return Region(-1, 0, buffer.type.dtype, number)
        return Region(self.regions[number], buffer.offset, buffer.type.dtype)

    def _loop(self, step: LoopStep) -> HostLoop:
        limit, predicate, counter = (
            None if b is None else self.place(b) for b in (step.limit, step.predicate, step.counter)
        )
        windows = tuple(HostWindow(w.buffer, self.place(w.of), w.stride, w.offset) for w in step.windows)
        start, condition, body = map(self.bind, step.blocks)
        return HostLoop(step.length, limit, predicate, counter, start, condition, body, windows, step.swaps)

    def _launches(self, step: KernelStep | CallStep, work: Kernel | Call) -> list[BoundLaunch]:
        source = work_source(work)
        if reports(source):
            self.reporting.append(step)
            self.sizes[self.status] += STATUS_BYTES
        loose = frozenset(s for s, b in enumerate(step.buffers) if self.buffers[b].space is Space.WINDOW)
        module = self.modules.setdefault(SourceModule(source, loose), len(self.modules))
        starts, end = scratch_places(source)
        self.sizes[self.scratch] = max(self.sizes[self.scratch], end)
        result = []
        for launch in source.launches:
            places = []
            for parameter in launch.parameters:
                match parameter.memory:
                    case Role.SLOT:
                        places.append(replace(self.place(step.buffers[parameter.number]), dtype=parameter.dtype))
                    case Role.SCRATCH:
                        places.append(Region(self.scratch, starts[parameter.number], parameter.dtype))
                    case Role.STATUS:
                        number = len(self.reporting) - 1
                        places.append(Region(self.status, STATUS_BYTES * number, parameter.dtype))
            result.append(BoundLaunch(module, launch, tuple(places)))
        return result


def reports(source: KernelSource) -> bool:
    """Whether a kernel may meet a bad index."""
    return any(p.memory is Role.STATUS for launch in source.launches for p in launch.parameters)


def bind(schedule: Schedule) -> DeviceProgram:
    """The program of a schedule. Raises UnsupportedError for a kernel or call that the backend has no lowering of."""
    binder = _Binder(schedule)
    last = schedule.steps[len(schedule.steps) - _count_last(schedule.steps) :]
    first = schedule.steps[: len(schedule.steps) - len(last)]
    prepare, steps, ending = map(binder.bind, (schedule.prepare, first, last))
    return DeviceProgram(
        tuple(binder.modules),
        prepare,
        steps,
        ending,
        _variables_written(schedule, first),
        tuple(binder.sizes),
        binder.regions,
        binder.status,
        tuple(binder.reporting),
    )


def _count_last(steps: Sequence[Step]) -> int:
    """How many steps at the end are known beforehand and meet no bad index."""
    count = 0
    for step in reversed(steps):
        works = [s.kernel if isinstance(s, KernelStep) else s.call for s in leaves([step])]
        if _is_steered(step) or any(reports(work_source(work)) for work in works):
            break
        count += 1
    return count


def _is_steered(step: Step) -> bool:
    """Whether the host has to read, or write, what it depends on."""
    if isinstance(step, BranchStep) or (isinstance(step, LoopStep) and (step.steering or step.length is None)):
        return True
    return any(map(_is_steered, chain(*step.blocks)))


def _variables_written(schedule: Schedule, steps: Iterable[Step]) -> frozenset[int]:
    """The positions of the Variables that steps store to, by whatever windows."""
    behind: dict[int, set[int]] = {}
    for loop in _loops(steps):
        for window in loop.windows:
            behind.setdefault(window.buffer, set()).add(window.of)
        for a, b in loop.swaps:
            behind[a] = behind[b] = behind[a] | behind[b]
    reached, pending = set[int](), [b for step in leaves(steps) for b in step.written]
    pending += [loop.counter for loop in _loops(steps) if loop.counter is not None]
    while pending:
        if (number := pending.pop()) not in reached:
            reached.add(number)
            pending += behind.get(number, ())
    return frozenset(b.position for b in schedule.in_space(Space.VARIABLE) if b.number in reached)


def _loops(steps: Iterable[Step]) -> Iterator[LoopStep]:
    for step in steps:
        if isinstance(step, LoopStep):
            yield step
        yield from _loops(chain(*step.blocks))


def check_status(program: DeviceProgram, statuses: np.ndarray) -> None:
    """Raise GraphcIndexError for the first step that met a bad index, with the user's line."""
    for step, status in zip(program.reporting, statuses, strict=True):
        if status:
            gathered_at = step.gathered_at if isinstance(step, KernelStep) else None
            raise GraphcIndexError(
                "an index tensor holds an index outside the axis that it selects from",
                got=f"in a kernel of {' '.join(step.ops)}",
                where=gathered_at or (step.lines[0] if step.lines else None),
                hint="check the indices, or clip them to the axis",
            )
