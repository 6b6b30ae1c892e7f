"""Schedule → program: every launch with its pointers bound to regions of memory.

Interpreting and launching on a GPU carry out the same program. Regions: one for each caller's array, the arena,
the prepared buffers, scratch memory, and one status for each step.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphc.dataclass import dataclass, replace
from graphc.errors import GraphcIndexError
from graphc.kernel import Call, Kernel
from graphc.schedule import BranchStep, CallStep, KernelStep, LoopStep, Schedule, Space, Step

from .calls import work_source
from .control import BoundLaunch, HostBranch, HostLoop, HostWindow, Item, Place
from .launches import KernelSource, Memory

ALIGNMENT = 64  # of every buffer, in bytes; schedules promise it for the arena


@dataclass(frozen=True)
class Module:
    """The source of a kernel. `loose`: the slots that may start at any element; the others start at multiples of 16
    bytes."""

    source: KernelSource
    loose: frozenset[int]


@dataclass(frozen=True)
class Program:
    """A schedule in Triton. `sizes` are the regions' bytes; `regions` says which one a caller's buffer is."""

    modules: tuple[Module, ...]
    prepare: tuple[Item, ...]
    steps: tuple[Item, ...]
    sizes: tuple[int, ...]
    regions: dict[int, int]
    status: int


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
        self.sizes: list[int] = [schedule.arena_bytes, schedule.prepared_bytes]
        self.regions: dict[int, int] = {}
        for buffer in schedule.buffers:
            if buffer.space is Space.WINDOW:
                continue
            if buffer.space is Space.ARENA or buffer.space is Space.PREPARED:
                self.regions[buffer.number] = 0 if buffer.space is Space.ARENA else 1
            else:
                self.regions[buffer.number] = self.region(buffer.type.nbytes)
        self.scratch = self.region(0)
        self.status = self.region(4 * len(schedule.leaves))
        self.bound = 0  # leaves so far: each reports into the status of its number
        self.modules: dict[Module, int] = {}

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

    def place(self, number: int) -> Place:
        """Where a buffer is."""
        buffer = self.buffers[number]
        if buffer.space is Space.WINDOW:
            return Place(-1, 0, buffer.type.dtype, number)
        return Place(self.regions[number], buffer.offset, buffer.type.dtype)

    def _loop(self, step: LoopStep) -> HostLoop:
        limit, predicate, counter = (
            None if b is None else self.place(b) for b in (step.limit, step.predicate, step.counter)
        )
        windows = tuple(HostWindow(w.buffer, self.place(w.of), w.stride, w.offset) for w in step.windows)
        start, condition, body = map(self.bind, step.blocks)
        return HostLoop(step.length, limit, predicate, counter, start, condition, body, windows, step.swaps)

    def _launches(self, step: KernelStep | CallStep, work: Kernel | Call) -> list[BoundLaunch]:
        number, self.bound = self.bound, self.bound + 1
        source = work_source(work)
        loose = frozenset(s for s, b in enumerate(step.buffers) if self.buffers[b].space is Space.WINDOW)
        module = self.modules.setdefault(Module(source, loose), len(self.modules))
        starts, end = scratch_places(source)
        self.sizes[self.scratch] = max(self.sizes[self.scratch], end)
        result = []
        for launch in source.launches:
            places = []
            for parameter in launch.parameters:
                match parameter.memory:
                    case Memory.SLOT:
                        places.append(replace(self.place(step.buffers[parameter.number]), dtype=parameter.dtype))
                    case Memory.SCRATCH:
                        places.append(Place(self.scratch, starts[parameter.number], parameter.dtype))
                    case Memory.STATUS:
                        places.append(Place(self.status, 4 * number, parameter.dtype))
            result.append(BoundLaunch(module, launch, tuple(places)))
        return result


def bind(schedule: Schedule) -> Program:
    """The program of a schedule. Raises UnsupportedError for a kernel or call that the backend has no lowering of."""
    binder = _Binder(schedule)
    prepare, steps = binder.bind(schedule.prepare), binder.bind(schedule.steps)
    return Program(
        tuple(binder.modules),
        prepare,
        steps,
        tuple(binder.sizes),
        binder.regions,
        binder.status,
    )


def check_status(schedule: Schedule, statuses: np.ndarray) -> None:
    """Raise GraphcIndexError for the first step that met a bad index, with the user's line."""
    for step, status in zip(schedule.leaves, statuses, strict=True):
        if status:
            raise GraphcIndexError(
                "an index tensor holds an index outside the axis that it selects from",
                got=f"in a kernel of {' '.join(step.ops)}",
                where=step.lines[0] if step.lines else None,
                hint="check the indices, or clip them to the axis",
            )
