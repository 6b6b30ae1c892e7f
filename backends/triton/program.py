"""Schedule → program: every launch with its pointers bound to regions of memory.

Interpreting and launching on a GPU carry out the same program. Regions: one for each caller's array, the arena,
the prepared buffers, scratch memory, and one status for each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphc.errors import GraphcIndexError
from graphc.kernel import Kernel
from graphc.schedule import Buffer, Schedule, ScheduleStep, Space

from .interpret import Call, Interpreter, Place
from .plan import Plan
from .source import KernelSource, Launch, Memory, Parameter, kernel_source

ALIGNMENT = 64   # of every buffer, in bytes; schedules promise it for the arena


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

    def bind(self, step: ScheduleStep, number: int) -> list[BoundLaunch]:
        """The launches of step `number`, which reports into the status of that number."""
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
        tuple(binder.modules), tuple(prepare), tuple(steps), tuple(binder.sizes), binder.regions, binder.status
    )


def run_schedule_interpreted(
    schedule: Schedule,
    inputs: Sequence[np.ndarray],
    variables: Sequence[np.ndarray] = (),
    constants: Sequence[np.ndarray] = (),
    interpreter: Interpreter | None = None,
) -> list[np.ndarray]:
    """Run a schedule, its prepare steps first, in Triton's interpreter. Returns the outputs, by position.

    Arrays are given by position within their space, with the types that the schedule's buffers have. `variables` are
    changed in place where the schedule writes them. Raises GraphcIndexError where a gathered index was bad.
    """
    program = bind(schedule)
    regions = [np.zeros(size, np.uint8) for size in program.sizes]
    given = {Space.INPUT: inputs, Space.VARIABLE: variables, Space.CONSTANT: constants}
    for buffer in schedule.buffers:
        if buffer.space in given:
            regions[program.regions[buffer.number]] = _bytes(given[buffer.space][buffer.position], buffer)
    calls = [
        Call(b.module, b.launch.function, b.launch.programs, b.places) for b in (*program.prepare, *program.steps)
    ]
    owned = interpreter or Interpreter()
    try:
        owned.run([m.text for m in program.modules], calls, regions)
    finally:
        if interpreter is None:
            owned.close()
    check_status(schedule, regions[program.status].view(np.int32))

    def array(buffer: Buffer) -> np.ndarray:
        data = regions[program.regions[buffer.number]]
        return data.view(buffer.type.dtype.numpy).reshape(buffer.type.shape)

    for buffer in schedule.in_space(Space.VARIABLE):
        variables[buffer.position][...] = array(buffer)
    return [array(b) for b in schedule.in_space(Space.OUTPUT)]


def run_kernel_interpreted(
    kernel: Kernel, arrays: Sequence[np.ndarray], interpreter: Interpreter, plan: Plan | None = None
) -> bool:
    """Run one kernel on flat arrays, one for each slot, those that it stores to changed in place.

    Returns whether every gathered index was inside its axis."""
    source = kernel_source(kernel, plan)
    starts, end = scratch_places(source)
    status = np.zeros(1, np.int32)
    regions = [*(a.view(np.uint8) for a in arrays), np.zeros(end, np.uint8), status.view(np.uint8)]
    first = {Memory.SLOT: 0, Memory.SCRATCH: len(arrays), Memory.STATUS: len(arrays) + 1}

    def place(parameter: Parameter) -> Place:
        if parameter.memory is Memory.SCRATCH:
            return Place(first[Memory.SCRATCH], starts[parameter.number], parameter.dtype)
        return Place(first[parameter.memory] + parameter.number, 0, parameter.dtype)

    calls = [Call(0, x.function, x.programs, tuple(map(place, x.parameters))) for x in source.launches]
    interpreter.run([source.text], calls, regions)
    return not status[0]


def _bytes(array: np.ndarray, buffer: Buffer) -> np.ndarray:
    """A copy of an array's bytes."""
    assert array.shape == buffer.type.shape and array.dtype == buffer.type.dtype.numpy, f"{array.dtype} for {buffer}"
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy()


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
