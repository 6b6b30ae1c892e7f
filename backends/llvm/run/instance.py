"""A compiled program in this process: its memory, its tables, and the call.

In: a `NativeProgram`, its loaded code, the team, and the Variables' storages. Out: calls with arrays or with addresses
of inputs and outputs. Knows no kernel and no Tensor.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Mapping, Sequence
from ctypes import c_void_p
from functools import partial
from statistics import median
from time import perf_counter

import numpy as np

from graphc.schedule import Buffer, Space
from graphc.storage import ALIGNMENT, Storage, aligned_empty
from graphc.types import TensorType, uint8

from ..native import (
    INTERRUPTED,
    NO_TEAM,
    Context,
    ContextFlags,
    NativeProgram,
    Table,
    Task,
)
from .array_call import AWAY, NO_MATCH, STALE, ArrayCall
from .team import Team


class Instance:
    """One running program. Callers hold the process's call lock, so calls may come from any thread."""

    def __init__(
        self,
        program: NativeProgram,
        code: Mapping[str, int],
        team: Team,
        calls: Mapping[str, int],
        variables: Sequence[Storage] = (),
        updated: Sequence[int] = (),
        flush: bool = False,
    ) -> None:
        """`code`: the addresses of the program's symbols; `calls`: of those of `array_call_object`. `variables`: what
        is behind the VARIABLE buffers, by position, read and written in place; `updated`: the positions of those that
        the program writes. `flush`: take subnormal numbers for 0."""
        self._team = team
        self._program = program
        self._code = code
        self._table = (c_void_p * max(1, len(program.buffers)))()
        pointers = memoryview(self._table).cast("B").cast("Q")
        self._pointers = pointers
        arena, prepared = _memory(program.arena_bytes), _memory(program.prepared_bytes)
        constants = tuple(_aligned(c) for c in program.constants)
        self._variables = tuple(variables)
        self._keep = (code, arena, prepared, constants)
        for space, arrays in ((Space.VARIABLE, [v.array for v in variables]), (Space.CONSTANT, constants)):
            for buffer in program.in_space(space):
                pointers[buffer.number] = address(arrays[buffer.position])
        for space, memory in ((Space.ARENA, arena), (Space.PREPARED, prepared)):
            for buffer in program.in_space(space):
                pointers[buffer.number] = address(memory) + buffer.offset
        mode = ContextFlags.FLUSH if flush else ContextFlags(0)
        self._steps = _Running(program.main, code, self._table, mode)
        self._steps.context.poll, self._steps.context.polled = calls["graphc_poll"], program.interruptible
        self._prepare = _Running(program.prepare, code, self._table, mode)
        self._mode = mode
        self._watched = _watched(program, variables)
        run, page = team.addresses
        self._call = ArrayCall(
            calls,
            run,
            self._steps.address,
            page,
            ctypes.addressof(self._table),
            [(b.number, b.type) for b in program.in_space(Space.INPUT)],
            [b.number for b in program.in_space(Space.OUTPUT)],
            [v.away_address for v in variables],
            [v.version_address for v in self._watched],
            [variables[position].version_address for position in updated],
        )
        # A worker that the system has stopped may still look at the tables of its last region when it goes on.
        weakref.finalize(self, team.retire, self._steps, self._prepare).atexit = False

    def prepare(self) -> int:
        """Run the prepare tasks: before the first call, and whenever a Variable they read has changed, which is when
        a call's status is STALE. Returns the status, see `native`."""
        self._bring_home()
        versions = [v.version for v in self._watched]  # before the work: what changes meanwhile makes it stale again
        status = self._team.run(self._prepare.address)
        if status == 0:
            self._call.prepared(versions)
        return status

    def call(self, addresses: Sequence[int]) -> int:
        """Run once. `addresses`: of the inputs and then of the outputs, by position; C-contiguous memory of the
        buffers' types. Returns the status, see `native` and `array_call`; the prepare tasks run as needed."""
        return self._ready(lambda: self._call.at(addresses))

    def call_arrays(self, objects: Sequence[object]) -> int:
        """The same for Python objects; NO_MATCH if those for the inputs are not arrays just as their types say."""
        status = self._call(objects)
        return status if status >= 0 or status == NO_MATCH else self._ready(lambda: self._call(objects))

    def _ready(self, call: Callable[[], int]) -> int:
        """The status of a call after whatever had to come first."""
        while (status := call()) < 0:
            if status == AWAY:
                self._bring_home()
            elif status == STALE:
                if failed := self.prepare():
                    raise PrepareError(failed)
            elif status == NO_TEAM:
                self._team.start()
            elif status != INTERRUPTED:  # else the handler of Ctrl-C has run just now, and wants to go on: once more
                break
        return status

    def _bring_home(self) -> None:
        """Have the contents of the Variables where the program looks for them."""
        for variable in self._variables:
            variable.bring_home()

    def step_seconds(self, steps: Sequence[Table], seconds: float, flush: bool = False) -> list[float]:
        """How long each step takes by itself, given as a table: right after a call, whose inputs and outputs are alive
        still.

        The steps run in their order, each several times over, so that it finds its operands as it does in a call. What
        a call takes that has nothing to do is not counted.
        """
        mode = ContextFlags.FLUSH if flush else self._mode
        tables = [_Running(step, self._code, self._table, mode) for step in (Table(), *steps)]
        runs = [partial(self._team.run, table.address) for table in tables]
        share = seconds / ROUNDS / len(runs)
        counts = [max(1, min(MOST_RUNS, round(share / max(_elapsed(run, 1), 1e-6)))) for run in runs]
        rounds = [[_elapsed(r, n) for r, n in zip(runs, counts, strict=True)] for _ in range(ROUNDS)]
        self._team.retire(*tables)
        empty, *found = (median(taken) for taken in zip(*rounds, strict=True))
        return [max(0.0, taken - empty) for taken in found]

    def contents(self, buffer: Buffer) -> np.ndarray:
        """A copy of what a invariant buffer holds, as a call would find it."""
        if not self._call.is_ready([v.version for v in self._watched]) and (failed := self.prepare()):
            raise PrepareError(failed)
        data = ctypes.string_at(self._pointers[buffer.number], buffer.type.nbytes)
        return np.frombuffer(data, buffer.type.dtype.numpy).reshape(buffer.type.shape)

    @property
    def bad_index(self) -> int:
        """The index that the last status of `call` other than 0 is about."""
        return self._steps.context.bad_index

    @property
    def bad_prepare_index(self) -> int:
        return self._prepare.context.bad_index


class PrepareError(Exception):
    """The prepare tasks have met a bad index. `args`: the status."""


def _watched(program: NativeProgram, variables: Sequence[Storage]) -> tuple[Storage, ...]:
    """What the prepare tasks read; a storage of no Variable's stands for their having run at all."""
    if not program.prepare.tasks:
        return ()
    read = program.prepare.buffers
    places = [b.position for b in program.in_space(Space.VARIABLE) if b.number in read]
    return (Storage(np.zeros(()), TensorType(uint8, ())), *(variables[p] for p in places))


ROUNDS = 15
MOST_RUNS = 10_000


def _elapsed(run: Callable[[], int], count: int) -> float:
    """Seconds of a run, from this many."""
    start = perf_counter()
    for _ in range(count):
        run()
    return (perf_counter() - start) / count


class _Running:
    """A table with its context."""

    def __init__(
        self, table: Table, code: Mapping[str, int], buffers: ctypes.Array, mode: ContextFlags
    ) -> None:
        tasks, count = table.tasks, max(1, len(table.tasks))
        self._slots = np.array([s for t in tasks for s in t.slots] or [0], np.int32)
        self._taken = np.zeros(count, np.int64)
        self._tasks = (Task * count)()
        start = address(self._slots)
        for number, (task, row) in enumerate(zip(tasks, table.numbers(), strict=True)):
            self._tasks[number] = Task(code[task.symbol], start, *row)
            start += 4 * len(task.slots)
        self._control = [_records(kind, records) for kind, records in table.records()]
        rows, windows, swaps = map(ctypes.addressof, self._control)
        flags = mode | (ContextFlags.SEQUENTIAL if table.is_sequential else ContextFlags(0))
        self.context = Context(
            ctypes.addressof(buffers), ctypes.addressof(self._tasks), rows, len(table.rows), windows, swaps, flags,
            address(self._taken),
        )  # fmt: skip
        self.address = ctypes.addressof(self.context)


def _records(kind: type[ctypes.Structure], records: Sequence[tuple[int, ...]]) -> ctypes.Array:
    array = (kind * max(1, len(records)))()
    for number, record in enumerate(records):
        array[number] = kind(*record)
    return array


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
