"""The Triton backend: a schedule's program on a device, as a function on arrays and storages.

In: a `Schedule`. The device is a GPU (`cuda.py`), or the host's memory with Triton's interpreter (`interpreted.py`).
Inputs that are there already stay where they are, and so do Variables and outputs until someone reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Protocol

import numpy as np

from graphc.backends.backend import Level, Lowering
from graphc.dataclass import dataclass
from graphc.devices import Block, Device
from graphc.errors import CompileError, TraceError
from graphc.ir import Graph
from graphc.kernel import Kernel
from graphc.schedule import Buffer, Schedule, Space, leaves
from graphc.settings import Settings
from graphc.storage import ALIGNMENT, Action, Replica, Storage

from .attention_roles import why_refused
from .control import Code, Control, Memory
from .program import PREPARED, DeviceProgram, bind, check_status


class TritonDevice(Device, Protocol):
    """A device that Triton's kernels run on."""

    def load(self, program: DeviceProgram) -> Code:
        """Its functions, ready to be launched."""
        ...


@dataclass(frozen=True)
class TritonBackend:
    """Runs schedules on the first NVIDIA GPU."""

    name: str = "triton"
    level: Level = Level.SCHEDULE

    def build(self, lowered: Graph | Schedule, settings: Settings) -> TritonProgram:
        """Raises UnsupportedError where there is no GPU, saying what is missing."""
        from .cuda import first_device

        return program_on(first_device(), expect_schedule(lowered))

    def refuses(self, kernel: Kernel) -> str:
        return why_refused(kernel) or ""


def expect_schedule(lowered: Graph | Schedule) -> Schedule:
    if not isinstance(lowered, Schedule):
        raise CompileError("the triton backend takes a schedule", got=type(lowered).__name__)
    return lowered


def program_on(device: TritonDevice, schedule: Schedule) -> TritonProgram:
    """A schedule's program, loaded on a device."""
    program = bind(schedule)
    return TritonProgram(schedule, program, device, device.load(program))


@dataclass(frozen=True, eq=False)
class TritonProgram:
    """A program with its code on a device."""

    schedule: Schedule
    program: DeviceProgram
    device: Device
    code: Code

    @property
    def lowered(self) -> Mapping[Kernel, Lowering]:
        return {}

    def bind(self, variables: Sequence[Storage]) -> BoundTritonProgram:
        return BoundTritonProgram(self, tuple(variables))


class BoundTritonProgram:
    """A program with its memory. Several that are bound to the same storages share their replicas on the device.

    A call launches all that may meet a bad index, looks whether any has, and launches the rest in one step of Python's
    in which the Variables get their new versions as well: so whoever interrupts a call comes before it or after it.
    Variables that are written sooner than that get new values in blocks of their own, which then take the old ones'
    place.
    """

    def __init__(self, built: TritonProgram, variables: tuple[Storage, ...]) -> None:
        schedule, program = built.schedule, built.program
        self.device = built.device
        self._program = program
        self._code = built.code
        self._variables = variables
        self._inputs = schedule.in_space(Space.INPUT)
        self._outputs = schedule.in_space(Space.OUTPUT)
        self._places = schedule.in_space(Space.VARIABLE)
        changed = {b for s in leaves(schedule.steps) for b in s.written}
        self._changed = frozenset(b.position for b in self._places if b.number in changed) | program.early
        read = {b for s in leaves(schedule.prepare) for b in s.buffers}
        self._watched = frozenset(b.position for b in self._places if b.number in read)
        self._prepared_from: list[int] | None = None  # the versions of the watched Variables
        self._turn = RLock()  # whose owner is running it; given back whatever interrupts that
        self._own = self._allocated(schedule)

    def _allocated(self, schedule: Schedule) -> dict[int, Block]:
        """The blocks of the regions that outlive a call: constants, prepared work and statuses."""
        sizes = self._program.sizes
        contents = {self._program.status: np.zeros(len(self._program.reporting), np.int32)}
        for buffer in schedule.in_space(Space.CONSTANT):
            contents[self._region(buffer)] = np.ascontiguousarray(schedule.constants[buffer.position].array)
        own = {region: self._block(sizes[region]) for region in (PREPARED, *contents)}
        for region, array in contents.items():
            if array.nbytes:
                self.device.upload(own[region], array)
        return own

    def _block(self, nbytes: int) -> Block:
        return self.device.allocate(max(1, nbytes))

    def _region(self, buffer: Buffer) -> int:
        return self._program.regions[buffer.number]

    def __call__(self, arrays: Sequence[np.ndarray | Storage]) -> list[Storage]:
        """Run once; see `OnDevice`. Again if a signal handler has changed a variable meanwhile; a handler that
        calls the program in the middle of its run gets a TraceError."""
        if self._turn._is_owned():  # type: ignore[attr-defined]
            raise TraceError(
                "a signal handler or finalizer can't run a program in the middle of its own run on the triton backend",
                hint="let the handler set a flag that the program looks at",
            )
        with self._turn:
            while (outputs := self._run(arrays)) is None:
                pass
            return outputs

    def _run(self, arrays: Sequence[np.ndarray | Storage]) -> list[Storage] | None:
        """None if a variable has changed since its replica was asked for; then nothing has happened."""
        blocks = dict(self._own)
        for buffer in self._inputs:
            blocks[self._region(buffer)] = self._input(buffer, arrays[buffer.position])
        seen, written, replaced = self._bring_variables(blocks)
        # The rest is new: outputs, and what all programs have from the same pool, one after the other.
        whole = [blocks.get(n) or self._block(size) for n, size in enumerate(self._program.sizes)]
        memory = Memory(self.device, self._code, whole)
        control = Control(memory, self._program.status, len(self._program.reporting))
        self._prepare(control, [version for _, version in seen])
        control.run(self._program.steps)
        self._check(control)
        if not memory.run(control.launches(self._program.last), seen, written):
            return None
        del replaced  # not sooner: letting go of memory is no part of the step
        return [self._result(buffer, whole[self._region(buffer)]) for buffer in self._outputs]

    def _input(self, buffer: Buffer, given: np.ndarray | Storage) -> Block:
        """Where an input is on the device."""
        if isinstance(given, Storage):
            found = given.on(self.device).block
            if found.address % ALIGNMENT == 0:  # as all blocks are that have not been adopted
                return found
            aligned = self._block(buffer.type.nbytes)
            self.device.copy(found, aligned)
            return aligned
        block = self._block(buffer.type.nbytes)
        if given.nbytes:
            self.device.upload(block, np.ascontiguousarray(given))
        return block

    def _bring_variables(
        self, blocks: dict[int, Block]
    ) -> tuple[list[tuple[Storage, int]], list[Action], list[Replica]]:
        """Have the Variables' replicas among the blocks. Returns the versions that they are of, what is to be called
        when the program has written those that it writes, and the replicas that others will have replaced then."""
        seen: list[tuple[Storage, int]] = []
        written: list[Action] = []
        replaced: list[Replica] = []
        for buffer in self._places:
            position, storage = buffer.position, self._variables[buffer.position]
            is_early = position in self._program.early
            in_place = position in self._changed and not is_early
            replica = storage.writable_on(self.device) if in_place else storage.on(self.device)
            version = replica.version
            seen.append((storage, version))
            if is_early:
                replaced.append(replica)
                replica = replica.copied()
            blocks[self._region(buffer)] = replica.block
            if position in self._changed:
                written += storage.written(replica, version)
        return seen, written, replaced

    def _prepare(self, control: Control, versions: Sequence[int]) -> None:
        """Do the work that depends on Variables only, if they have changed."""
        watched = [version for b, version in zip(self._places, versions, strict=True) if b.position in self._watched]
        if watched != self._prepared_from:
            self._prepared_from = None
            control.run(self._program.prepare)
            self._check(control)
            self._prepared_from = watched

    def _check(self, control: Control) -> None:
        """Raise GraphcIndexError if a step has met a bad index."""
        if self._program.reporting and (found := control.bad_indices()).any():
            self.device.upload(self._own[self._program.status], np.zeros_like(found))
            check_status(self._program, found)

    def _result(self, buffer: Buffer, block: Block) -> Storage:
        return Storage.of_replica(Replica(self.device, block, 0), buffer.type)
