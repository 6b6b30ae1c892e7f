"""The Triton backend without a GPU: the same sources, run in Triton's interpreter.

In: a `Schedule`, or one kernel. Out: what a GPU would compute, on NumPy arrays; for tests, and to try things out.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import setitem

import numpy as np

from graphc.backends.backend import Level
from graphc.cached import cached_property
from graphc.dataclass import dataclass, replace
from graphc.devices import Block, memory_at, note_opened
from graphc.ir import Graph
from graphc.kernel import Kernel
from graphc.schedule import Schedule
from graphc.settings import Settings
from graphc.storage import Action, aligned_empty
from graphc.types import TensorType, uint8

from .backend import TritonBackend, TritonProgram, expect_schedule, program_on
from .control import BoundLaunch, Region
from .interpret import Interpreter
from .launches import KernelSource, Parameter, Role
from .plan import Blocks
from .program import DeviceProgram, scratch_places
from .source import kernel_source


class InterpretedDevice:
    """A device whose memory is this process's and whose kernels Triton's interpreter runs, in a process of its own.

    `uploads`, `downloads`, `copies`: the bytes of each transfer so far. Blocks begin as garbage: what a program reads
    before it has written it shows.
    """

    def __init__(self, interpreter: Interpreter) -> None:
        self.name = "interpreted"
        self.code = (12, 0)  # DLPack's kDLExtDev: none that others know
        self.stream: int | None = None
        self._interpreter = interpreter
        self._garbage = np.random.default_rng(0)
        self.uploads: list[int] = []
        self.downloads: list[int] = []
        self.copies: list[int] = []
        note_opened(self)

    def allocate(self, nbytes: int) -> Block:
        memory = aligned_empty(TensorType(uint8, (nbytes,)))
        memory[:] = self._garbage.integers(0, 256, nbytes, np.uint8)
        return Block(memory.ctypes.data, nbytes, memory)

    def upload(self, block: Block, array: np.ndarray, offset: int = 0) -> None:
        _bytes(block)[offset : offset + array.nbytes] = array.reshape(-1).view(np.uint8)
        self.uploads.append(array.nbytes)

    def download(self, block: Block, array: np.ndarray, offset: int = 0) -> None:
        array.reshape(-1).view(np.uint8)[:] = _bytes(block)[offset : offset + array.nbytes]
        self.downloads.append(array.nbytes)

    def copy(self, source: Block, target: Block) -> None:
        _bytes(target)[: source.nbytes] = _bytes(source)
        self.copies.append(source.nbytes)

    def synchronize(self) -> None:
        """All is done when it was asked for."""

    def load(self, program: DeviceProgram) -> InterpretedCode:
        return InterpretedCode(self._interpreter, [m.source.text for m in program.modules])


def _bytes(block: Block) -> np.ndarray:
    """A block's memory, which is this process's."""
    return memory_at(block.address, block.nbytes, block.owner)


class InterpretedCode:
    """A program's sources, for the interpreter."""

    def __init__(self, interpreter: Interpreter, modules: Sequence[str]) -> None:
        self._interpreter = interpreter
        self._modules = modules

    def calls(self, launches: Sequence[BoundLaunch], blocks: Sequence[Block]) -> list[Action]:
        """The interpreter works on copies; what is to be called puts its results into the blocks."""
        used = sorted({p.region for x in launches for p in x.places})
        number = {region: n for n, region in enumerate(used)}
        moved = [replace(x, places=tuple(replace(p, region=number[p.region]) for p in x.places)) for x in launches]
        memory = [_bytes(blocks[region]) for region in used]
        results = self._interpreter.results(self._modules, moved, memory)
        return [(setitem, old, ..., new) for old, new in zip(memory, results, strict=True)]

    def check(self, answers: Sequence[object]) -> None:
        """The interpreter has told already."""


@dataclass(frozen=True)
class InterpretedBackend:
    """Runs schedules on one device, whose interpreting process starts when it is first needed."""

    name: str = "triton.interpreted"
    level: Level = Level.SCHEDULE

    @cached_property
    def interpreter(self) -> Interpreter:
        return Interpreter()

    @cached_property
    def device(self) -> InterpretedDevice:
        return InterpretedDevice(self.interpreter)

    def build(self, lowered: Graph | Schedule, settings: Settings) -> TritonProgram:
        return program_on(self.device, expect_schedule(lowered))

    def refuses(self, kernel: Kernel) -> str:
        return TritonBackend().refuses(kernel)


def interpreted_program(schedule: Schedule, interpreter: Interpreter) -> TritonProgram:
    """A schedule's program, to be run by `interpreter`."""
    return program_on(InterpretedDevice(interpreter), schedule)


def run_kernel_interpreted(
    kernel: Kernel, arrays: Sequence[np.ndarray], interpreter: Interpreter, plan: Blocks | None = None
) -> bool:
    """Run one kernel on flat arrays, one for each slot, those that it stores to changed in place.

    Returns whether every gathered index was inside its axis."""
    return run_source_interpreted(kernel_source(kernel, plan), arrays, interpreter)


def run_source_interpreted(source: KernelSource, arrays: Sequence[np.ndarray], interpreter: Interpreter) -> bool:
    """The same for what a kernel or call became."""
    starts, end = scratch_places(source)
    status = np.zeros(1, np.int32)
    regions = [*(a.view(np.uint8) for a in arrays), np.full(end, 255, np.uint8), status.view(np.uint8)]
    first = {Role.SLOT: 0, Role.SCRATCH: len(arrays), Role.STATUS: len(arrays) + 1}

    def place(parameter: Parameter) -> Region:
        if parameter.memory is Role.SCRATCH:
            return Region(first[Role.SCRATCH], starts[parameter.number], parameter.dtype)
        return Region(first[parameter.memory] + parameter.number, 0, parameter.dtype)

    launches = [BoundLaunch(0, x, tuple(map(place, x.parameters))) for x in source.launches]
    interpreter.run([source.text], launches, regions)
    return not status[0]
