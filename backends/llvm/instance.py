"""A compiled program in this process: its memory, its tables, and the call.

In: a `NativeProgram`, its loaded code, the team, and the Variables' arrays. Out: `call` with the addresses of inputs
and outputs. Knows no kernel and no Tensor; shapes and dtypes are the caller's business.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping, Sequence
from ctypes import c_void_p

import numpy as np

from graphc.schedule import Buffer, Space
from graphc.storage import ALIGNMENT, aligned_empty
from graphc.types import TensorType, uint8

from .array_call import ArrayCall
from .native import Context, ContextFlags, NativeProgram, Task, TaskSpec, rows
from .team import Team


class Instance:
    """One running program. Calls of all instances take the team's lock, so they may come from any thread."""

    def __init__(
        self, program: NativeProgram, code: Mapping[str, int], team: Team, variables: Sequence[np.ndarray] = ()
    ) -> None:
        """`code`: the addresses of the program's symbols. `variables`: the arrays behind the VARIABLE buffers, by
        position; the program reads and writes them in place."""
        self._team = team
        self._table = (c_void_p * max(1, len(program.buffers)))()
        self._pointers = memoryview(self._table).cast("B").cast("Q")
        self._arguments = tuple(b.number for s in (Space.INPUT, Space.OUTPUT) for b in program.in_space(s))
        arena, prepared = _memory(program.arena_bytes), _memory(program.prepared_bytes)
        constants = tuple(_aligned(c) for c in program.constants)
        self._keep = (code, variables, arena, prepared, constants)
        for space, arrays in ((Space.VARIABLE, variables), (Space.CONSTANT, constants)):
            for buffer in program.in_space(space):
                self._pointers[buffer.number] = address(arrays[buffer.position])
        for space, memory in ((Space.ARENA, arena), (Space.PREPARED, prepared)):
            for buffer in program.in_space(space):
                self._pointers[buffer.number] = address(memory) + buffer.offset
        serial = all(t.serial for t in program.prepare)
        self._steps = _Table(program.tasks, code, self._table, _flags(program.sequential))
        self._prepare = _Table(program.prepare, code, self._table, _flags(serial))
        # A worker that the system has stopped may still look at the tables of its last region when it goes on.
        weakref.finalize(self, team.retire, self._steps, self._prepare).atexit = False

    def prepare(self) -> int:
        """Run the prepare tasks: before the first call, and whenever a Variable they read has changed.
        Returns the status, see `native`."""
        with self._team.lock:
            return self._team.run(self._prepare.address)

    def call(self, addresses: Sequence[int]) -> int:
        """Run once. `addresses`: of the inputs and then of the outputs, by position; C-contiguous memory of the
        buffers' types. Returns the status, see `native`."""
        pointers, team = self._pointers, self._team
        with team.lock:
            for number, pointer in zip(self._arguments, addresses, strict=True):
                pointers[number] = pointer
            return team.run(self._steps.address)

    def array_call(self, function: int, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> ArrayCall:
        """The quick call; `function` is the address of `graphc_call_arrays`."""
        run, page = self._team.addresses
        places = [(b.number, b.type) for b in inputs]
        table = ctypes.addressof(self._table)
        return ArrayCall(function, run, self._steps.address, page, table, places, [b.number for b in outputs])

    def contents(self, buffer: Buffer) -> np.ndarray:
        """A copy of what a buffer holds that is the instance's own or a variable's."""
        data = ctypes.string_at(self._pointers[buffer.number], buffer.type.nbytes)
        return np.frombuffer(data, buffer.type.dtype.numpy).reshape(buffer.type.shape)

    @property
    def bad_index(self) -> int:
        """The index that the last status of `call` other than 0 is about."""
        return self._steps.context.bad_index

    @property
    def bad_prepare_index(self) -> int:
        return self._prepare.context.bad_index


def _flags(sequential: bool) -> ContextFlags:
    return ContextFlags.SEQUENTIAL if sequential else ContextFlags(0)


class _Table:
    """A table of tasks with its context."""

    def __init__(
        self, tasks: Sequence[TaskSpec], code: Mapping[str, int], buffers: ctypes.Array, flags: ContextFlags
    ) -> None:
        self._slots = np.array([s for t in tasks for s in t.slots] or [0], np.int32)
        self._taken = np.zeros(max(1, len(tasks)), np.int64)
        self._tasks = (Task * max(1, len(tasks)))()
        start = address(self._slots)
        for number, (task, row) in enumerate(zip(tasks, rows(tasks), strict=True)):
            self._tasks[number] = Task(code[task.symbol], start, *row)
            start += 4 * len(task.slots)
        self.context = Context(
            ctypes.addressof(buffers), ctypes.addressof(self._tasks), len(tasks), flags, address(self._taken)
        )
        self.address = ctypes.addressof(self.context)


def address(array: np.ndarray) -> int:
    """Where the array's data start. A quarter of a microsecond: `array.ctypes.data` takes more than a whole one.

    NumPy's ABI puts the pointer right behind the object's header.
    """
    pointer: int | None = c_void_p.from_address(id(array) + object.__basicsize__).value
    return pointer or 0


def _memory(nbytes: int) -> np.ndarray:
    return aligned_empty(TensorType(uint8, (nbytes,)))


def _aligned(array: np.ndarray) -> np.ndarray:
    """The array itself if the generated code can use it as it is, else a copy."""
    if array.flags.c_contiguous and address(array) % ALIGNMENT == 0:
        return array
    copy = _memory(array.nbytes)
    copy[:] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    return copy
