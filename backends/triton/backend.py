"""The Triton backend: a schedule's program with its memory on a device, as a function on NumPy arrays.

In: a `Schedule`. The device is a GPU (`cuda.py`), or Triton's interpreter (`interpreted.py`); both only hold regions
of memory and carry out launches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from graphc.backends.backend import Level, Lowering
from graphc.dataclass import dataclass
from graphc.errors import CompileError, TraceError
from graphc.ir import Graph
from graphc.kernel import Kernel
from graphc.schedule import Buffer, Schedule, Space, leaves
from graphc.settings import Settings
from graphc.storage import Storage, aligned_empty, write_all

from .control import Control, DeviceMemory
from .program import Program, bind, check_status


@dataclass(frozen=True)
class TritonBackend:
    """Runs schedules on the first NVIDIA GPU."""

    name: str = "triton"
    level: Level = Level.SCHEDULE

    def build(self, lowered: Graph | Schedule, settings: Settings) -> TritonProgram:
        """Raises UnsupportedError where there is no GPU, saying what is missing."""
        from .cuda import first_device

        schedule = expect_schedule(lowered)
        device = first_device()
        program = bind(schedule)
        loaded = device.load(program)
        return TritonProgram(schedule, program, lambda: device.allocate(program, loaded))


def expect_schedule(lowered: Graph | Schedule) -> Schedule:
    if not isinstance(lowered, Schedule):
        raise CompileError("the triton backend takes a schedule", got=type(lowered).__name__)
    return lowered


@dataclass(frozen=True)
class TritonProgram:
    """A program, and how to get memory for it."""

    schedule: Schedule
    program: Program
    allocate: Callable[[], DeviceMemory]

    @property
    def lowered(self) -> Mapping[Kernel, Lowering]:
        return {}

    def bind(self, variables: Sequence[Storage]) -> BoundTritonProgram:
        return BoundTritonProgram(self.schedule, self.program, self.allocate(), tuple(variables))


class BoundTritonProgram:
    """A program with its memory. The variables' storages hold the truth: the device's copies are renewed where a
    storage's version is not the one that they were made from."""

    def __init__(
        self, schedule: Schedule, program: Program, memory: DeviceMemory, variables: tuple[Storage, ...]
    ) -> None:
        self._schedule = schedule
        self._program = program
        self._memory = memory
        self._variables = variables
        self._versions = [-1] * len(variables)
        self._inputs = schedule.in_space(Space.INPUT)
        self._outputs = schedule.in_space(Space.OUTPUT)
        places = schedule.in_space(Space.VARIABLE)
        self._places = places
        changed = {b for s in leaves(schedule.steps) for b in s.written}
        self._changed = tuple(b for b in places if b.number in changed)
        read = {b for s in leaves(schedule.prepare) for b in s.buffers}
        self._prepared_from = frozenset(b.position for b in places if b.number in read)
        self._is_prepared = False
        self._is_running = False
        self._status = np.zeros(len(schedule.leaves), np.int32)
        self._control = Control(memory, program.status, len(schedule.leaves))
        for buffer in schedule.in_space(Space.CONSTANT):
            self._write(buffer, schedule.constants[buffer.position].array)

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run once; see `BoundProgram`. Again if a signal handler has changed a variable meanwhile; a handler that
        calls the program in the middle of its run gets a TraceError."""
        if self._is_running:
            raise TraceError(
                "a signal handler or finalizer can't run a program in the middle of its own run on the triton backend",
                hint="let the handler set a flag that the program looks at",
            )
        self._is_running = True
        try:
            while (outputs := self._run(arrays)) is None:
                pass
            return outputs
        finally:
            self._is_running = False

    def _run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """None if a variable has changed since it was copied to the device; then nothing has happened."""
        for buffer in self._inputs:
            self._write(buffer, arrays[buffer.position])
        renewed = self._renew_variables()
        if not self._is_prepared or renewed & self._prepared_from:
            self._control.run(self._program.prepare)
            self._is_prepared = True
        # From here on the device's copies are of no time, unless all goes well.
        versions, self._versions = self._versions, [-1] * len(self._variables)
        self._control.run(self._program.steps)
        self._check()
        outputs = [self._read(b) for b in self._outputs]
        new = [(self._variables[b.position], self._read(b)) for b in self._changed]
        if versions != [v.version for v in self._variables]:
            self._is_prepared = False
            return None
        write_all(new)
        self._versions = [v.version for v in self._variables]
        return outputs

    def _renew_variables(self) -> set[int]:
        """Copy what has changed on the host; the positions of those variables."""
        stale = set()
        for buffer in self._places:
            position, storage = buffer.position, self._variables[buffer.position]
            if storage.version != self._versions[position]:
                self._write(buffer, storage.array)
                self._versions[position] = storage.version
                stale.add(position)
        return stale

    def _check(self) -> None:
        """Raise for a bad index; what the device has made of the variables is then worthless."""
        self._memory.read(self._program.status, self._status)
        if self._status.any():
            self._is_prepared = False
            self._memory.write(self._program.status, np.zeros_like(self._status))
            check_status(self._schedule, self._status)

    def _write(self, buffer: Buffer, array: np.ndarray) -> None:
        if buffer.type.nbytes:
            self._memory.write(self._program.regions[buffer.number], np.ascontiguousarray(array))

    def _read(self, buffer: Buffer) -> np.ndarray:
        result = aligned_empty(buffer.type)
        if buffer.type.nbytes:
            self._memory.read(self._program.regions[buffer.number], result)
        return result
