"""The Triton backend without a GPU: the same sources, run in Triton's interpreter.

In: a `Schedule`, or one kernel. Out: what a GPU would compute, on NumPy arrays; for tests, and to try things out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from graphc.backends.backend import Level
from graphc.errors import CompileError
from graphc.ir import Graph
from graphc.kernel import Kernel
from graphc.schedule import Buffer, Schedule, Space
from graphc.settings import Settings
from graphc.storage import Storage

from .interpret import Interpreter
from .plan import Plan
from .program import BoundLaunch, Place, Program, bind, check_status, scratch_places
from .source import Memory, Parameter, kernel_source


@dataclass(frozen=True)
class InterpretedBackend:
    """Runs schedules in one interpreting process, which starts when it is first needed."""

    name: str = "triton.interpreted"
    level: Level = Level.SCHEDULE

    @cached_property
    def interpreter(self) -> Interpreter:
        return Interpreter()

    def build(self, lowered: Graph | Schedule, settings: Settings) -> InterpretedProgram:
        if not isinstance(lowered, Schedule):
            raise CompileError("the triton backend takes a schedule", got=type(lowered).__name__)
        return InterpretedProgram(lowered, bind(lowered), self.interpreter)


@dataclass(frozen=True)
class InterpretedProgram:
    """A program and the process that will run it."""

    schedule: Schedule
    program: Program
    interpreter: Interpreter

    def bind(self, variables: Sequence[Storage]) -> BoundInterpretedProgram:
        return BoundInterpretedProgram(self.schedule, self.program, self.interpreter, tuple(variables))


@dataclass(frozen=True)
class BoundInterpretedProgram:
    """A program with its variables. Prepared work is done again at every call."""

    schedule: Schedule
    program: Program
    interpreter: Interpreter
    variables: tuple[Storage, ...]

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run once; see `BoundProgram`."""
        schedule, program = self.schedule, self.program
        regions = [np.zeros(size, np.uint8) for size in program.sizes]
        for buffer in schedule.buffers:
            if (array := self._given(buffer, arrays)) is not None:
                regions[program.regions[buffer.number]][:] = array.reshape(-1).view(np.uint8)
        launches = (*program.prepare, *program.steps)
        self.interpreter.run([m.text for m in program.modules], launches, regions)
        check_status(schedule, regions[program.status].view(np.int32))

        def result(buffer: Buffer) -> np.ndarray:
            data = regions[program.regions[buffer.number]]
            return data.view(buffer.type.dtype.numpy).reshape(buffer.type.shape)

        changed = {b for s in schedule.steps for b in (s.buffers[n] for n in s.kernel.written)}
        for buffer in schedule.in_space(Space.VARIABLE):
            if buffer.number in changed:
                self.variables[buffer.position].write(result(buffer))
        return [result(b) for b in schedule.in_space(Space.OUTPUT)]

    def _given(self, buffer: Buffer, arrays: Sequence[np.ndarray]) -> np.ndarray | None:
        """What is in a buffer when a call begins; None for those that the call fills."""
        match buffer.space:
            case Space.INPUT:
                return arrays[buffer.position]
            case Space.VARIABLE:
                return self.variables[buffer.position].array
            case Space.CONSTANT:
                return np.ascontiguousarray(self.schedule.constants[buffer.position].array)
        return None


def run_schedule_interpreted(
    schedule: Schedule, inputs: Sequence[np.ndarray], variables: Sequence[Storage] = ()
) -> list[np.ndarray]:
    """Run a schedule, its prepare steps first, in an interpreter of its own. Returns the outputs, by position.

    The variables' storages are updated in place. Raises GraphcIndexError where a gathered index was bad."""
    with Interpreter() as interpreter:
        return InterpretedProgram(schedule, bind(schedule), interpreter).bind(variables)(inputs)


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

    launches = [BoundLaunch(0, x, tuple(map(place, x.parameters))) for x in source.launches]
    interpreter.run([source.text], launches, regions)
    return not status[0]


backend = InterpretedBackend()
