"""Schedule → program: every launch with its pointers bound to regions of memory.

Interpreting and launching on a GPU carry out the same program. Regions: one for each caller's array, the arena,
the prepared buffers, scratch memory, and one status for each step.
"""

from __future__ import annotations

import numpy as np

from graphc.dataclass import dataclass
from graphc.errors import GraphcIndexError, UnsupportedError
from graphc.schedule import KernelStep, Schedule, Space, Step
from graphc.types import DType

from .launches import KernelSource, Launch, Memory
from .source import kernel_source

ALIGNMENT = 64  # of every buffer, in bytes; schedules promise it for the arena


@dataclass(frozen=True)
class Place:
    """Elements of `dtype` at a byte offset of a region of memory."""

    region: int
    offset: int
    dtype: DType


@dataclass(frozen=True)
class BoundLaunch:
    """A launch of module number `module` on places in memory."""

    module: int
    launch: Launch
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Program:
    """A schedule in Triton. `sizes` are the regions' bytes; `regions` says which one a caller's buffer is."""

    modules: tuple[KernelSource, ...]
    prepare: tuple[BoundLaunch, ...]
    steps: tuple[BoundLaunch, ...]
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
            if buffer.space is Space.ARENA or buffer.space is Space.PREPARED:
                self.regions[buffer.number] = 0 if buffer.space is Space.ARENA else 1
            else:
                self.regions[buffer.number] = self.region(buffer.type.nbytes)
        self.scratch = self.region(0)
        self.status = self.region(4 * (len(schedule.prepare) + len(schedule.steps)))
        self.modules: dict[KernelSource, int] = {}

    def region(self, size: int) -> int:
        self.sizes.append(size)
        return len(self.sizes) - 1

    def bind(self, step: Step, number: int) -> list[BoundLaunch]:
        """The launches of step `number`, which reports into the status of that number."""
        if not isinstance(step, KernelStep):
            raise UnsupportedError("the triton backend runs kernels only", got=str(step))
        source = kernel_source(step.kernel)
        module = self.modules.setdefault(source, len(self.modules))
        starts, end = scratch_places(source)
        self.sizes[self.scratch] = max(self.sizes[self.scratch], end)
        result = []
        for launch in source.launches:
            places = []
            for parameter in launch.parameters:
                match parameter.memory:
                    case Memory.SLOT:
                        buffer = self.buffers[step.buffers[parameter.number]]
                        places.append(Place(self.regions[buffer.number], buffer.offset, parameter.dtype))
                    case Memory.SCRATCH:
                        places.append(Place(self.scratch, starts[parameter.number], parameter.dtype))
                    case Memory.STATUS:
                        places.append(Place(self.status, 4 * number, parameter.dtype))
            result.append(BoundLaunch(module, launch, tuple(places)))
        return result


def bind(schedule: Schedule) -> Program:
    """The program of a schedule. Raises UnsupportedError for a kernel that the backend has no lowering of."""
    binder = _Binder(schedule)
    prepare = [b for n, step in enumerate(schedule.prepare) for b in binder.bind(step, n)]
    first = len(schedule.prepare)
    steps = [b for n, step in enumerate(schedule.steps) for b in binder.bind(step, first + n)]
    return Program(
        tuple(binder.modules),
        tuple(prepare),
        tuple(steps),
        tuple(binder.sizes),
        binder.regions,
        binder.status,
    )


def check_status(schedule: Schedule, statuses: np.ndarray) -> None:
    """Raise GraphcIndexError for the first step that met a bad index, with the user's line."""
    for step, status in zip((*schedule.prepare, *schedule.steps), statuses, strict=True):
        if status:
            raise GraphcIndexError(
                "an index tensor holds an index outside the axis that it selects from",
                got=f"in a kernel of {' '.join(step.ops)}",
                where=step.lines[0] if step.lines else None,
                hint="check the indices, or clip them to the axis",
            )
