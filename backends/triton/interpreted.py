"""The Triton backend without a GPU: the same sources, run in Triton's interpreter.

In: a `Schedule`, or one kernel. Out: what a GPU would compute, on NumPy arrays; for tests, and to try things out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.backends.backend import Level
from graphc.cached import cached_property
from graphc.dataclass import dataclass
from graphc.ir import Graph
from graphc.kernel import Kernel
from graphc.schedule import Schedule
from graphc.settings import Settings

from .backend import TritonProgram, expect_schedule
from .control import BoundLaunch, Place
from .interpret import Interpreter
from .launches import KernelSource, Memory, Parameter
from .plan import Plan
from .program import Program, bind, scratch_places
from .source import kernel_source


class InterpretedMemory:
    """A program's regions as arrays of this process, lent to the interpreter for each run.

    They begin as garbage: what a program reads before it has written it shows."""

    def __init__(self, program: Program, interpreter: Interpreter) -> None:
        rng = np.random.default_rng(0)
        self._modules = [m.source.text for m in program.modules]
        self._regions = [rng.integers(0, 256, size, np.uint8) for size in program.sizes]
        self._regions[program.status][:] = 0
        self._interpreter = interpreter

    def write(self, region: int, data: np.ndarray, offset: int = 0) -> None:
        self._regions[region][offset : offset + data.nbytes] = data.reshape(-1).view(np.uint8)

    def read(self, region: int, data: np.ndarray, offset: int = 0) -> None:
        data.reshape(-1).view(np.uint8)[:] = self._regions[region][offset : offset + data.nbytes]

    def run(self, launches: Sequence[BoundLaunch]) -> None:
        if launches:
            self._interpreter.run(self._modules, launches, self._regions)


@dataclass(frozen=True)
class InterpretedBackend:
    """Runs schedules in one interpreting process, which starts when it is first needed."""

    name: str = "triton.interpreted"
    level: Level = Level.SCHEDULE

    @cached_property
    def interpreter(self) -> Interpreter:
        return Interpreter()

    def build(self, lowered: Graph | Schedule, settings: Settings) -> TritonProgram:
        return interpreted_program(expect_schedule(lowered), self.interpreter)


def interpreted_program(schedule: Schedule, interpreter: Interpreter) -> TritonProgram:
    """A schedule's program, to be run by `interpreter`."""
    program = bind(schedule)
    return TritonProgram(schedule, program, lambda: InterpretedMemory(program, interpreter))


def run_kernel_interpreted(
    kernel: Kernel, arrays: Sequence[np.ndarray], interpreter: Interpreter, plan: Plan | None = None
) -> bool:
    """Run one kernel on flat arrays, one for each slot, those that it stores to changed in place.

    Returns whether every gathered index was inside its axis."""
    return run_source_interpreted(kernel_source(kernel, plan), arrays, interpreter)


def run_source_interpreted(source: KernelSource, arrays: Sequence[np.ndarray], interpreter: Interpreter) -> bool:
    """The same for what a kernel or call became."""
    starts, end = scratch_places(source)
    status = np.zeros(1, np.int32)
    regions = [*(a.view(np.uint8) for a in arrays), np.full(end, 255, np.uint8), status.view(np.uint8)]
    first = {Memory.SLOT: 0, Memory.SCRATCH: len(arrays), Memory.STATUS: len(arrays) + 1}

    def place(parameter: Parameter) -> Place:
        if parameter.memory is Memory.SCRATCH:
            return Place(first[Memory.SCRATCH], starts[parameter.number], parameter.dtype)
        return Place(first[parameter.memory] + parameter.number, 0, parameter.dtype)

    launches = [BoundLaunch(0, x, tuple(map(place, x.parameters))) for x in source.launches]
    interpreter.run([source.text], launches, regions)
    return not status[0]
