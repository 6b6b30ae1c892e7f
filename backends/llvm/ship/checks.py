"""Whether the tables of a program, which may be damaged or made up, are what its functions and its callers need.

In: a `NativeProgram` as it was read. Out: nothing, or a PackageError that names the rule that is broken. Every number
is checked before a pointer is made of it. Which way loops and branches go depends on values, so all are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from graphc.backends.backend import Signature
from graphc.errors import PackageError
from graphc.schedule import LARGEST, Buffer, Space, Window
from graphc.storage import ALIGNMENT
from graphc.types import DType, bool_, int32, int64, type_of

from ..native import LIMITLESS, ControlRow, NativeProgram, RowKind, Table, TaskSpec, Use

DEEPEST = 100  # loops and branches within each other: each takes some of the stack


def check_program(native: NativeProgram, signature: Signature, updated: Collection[int]) -> None:
    """Raise PackageError unless all is as it has to be. `updated`: the positions of the variables that it changes."""
    _check_buffers(native)
    _check_signature(native, signature)
    own = {b.number for b in native.in_space(Space.VARIABLE) if b.position in updated}
    _Checker(native, native.prepare, PREPARED_WRITES, PREPARED_READS, frozenset()).check()
    _Checker(native, native.main, WRITES, frozenset(Space) - {Space.WINDOW}, frozenset(own)).check()


def _check_buffers(native: NativeProgram) -> None:
    """Buffers are numbered by their places in the table, have sizes that are sizes, and lie inside planned memory."""
    for number, b in enumerate(native.buffers):
        require(b.number == number, "buffers are numbered in order")
        require(all(0 <= s <= LARGEST for s in b.type.shape) and b.type.nbytes <= LARGEST, "sizes are sizes")
        require(b.offset >= 0 and b.offset % ALIGNMENT == 0, "offsets are aligned")
    for space, size in ((Space.ARENA, native.arena_bytes), (Space.PREPARED, native.prepared_bytes)):
        ends = [b.offset + b.type.nbytes for b in native.in_space(space)]
        end = max(ends, default=0)
        require(0 <= end <= size <= min(end + ALIGNMENT, LARGEST), f"the {space.value} is as large as its buffers")


def _check_signature(native: NativeProgram, signature: Signature) -> None:
    """Whether the program's buffers are what its callers will give it."""
    given = {
        Space.INPUT: signature.inputs,
        Space.VARIABLE: signature.variables,
        Space.OUTPUT: signature.outputs,
        Space.CONSTANT: tuple(map(type_of, native.constants)),
    }
    for space, types in given.items():
        found = native.in_space(space)
        require([b.position for b in found] == list(range(len(types))), f"every {space.value} has a buffer")
        require(all(b.type == t for b, t in zip(found, types, strict=True)), f"every {space.value} has its type")


SYMBOL = re.compile(r"kernel_[0-9a-f]{16}\w*")  # no function of the process's own, and no surprise for the linker
SCRATCH = frozenset({Space.ARENA, Space.PREPARED})
WRITES = frozenset({Space.ARENA, Space.OUTPUT})
PREPARED_WRITES = SCRATCH
PREPARED_READS = SCRATCH | {Space.CONSTANT, Space.VARIABLE}  # what is there without a call


class _Checker:
    """Checks one table. `known`: the windows that point to something by now, each with all the buffers that it may
    point into."""

    def __init__(
        self,
        native: NativeProgram,
        table: Table,
        writes: frozenset[Space],
        reads: frozenset[Space],
        updated: frozenset[int],
    ) -> None:
        self.native = native
        self.table = table
        self.writes = writes
        self.reads = reads
        self.updated = updated
        self.known: dict[int, frozenset[int]] = {}
        self.tasks = self.windows = self.swaps = 0  # how many have been met, each of which is in one row only

    def check(self) -> None:
        self._rows(0, len(self.table.rows), 0)
        met = self.tasks, self.windows, self.swaps
        all_of = len(self.table.tasks), len(self.table.windows), len(self.table.swaps)
        require(met == all_of, "every task, window and swap has its row")

    def _rows(self, first: int, end: int, depth: int) -> None:
        """The rows of a block, which together are all of it."""
        require(depth <= DEEPEST, "loops and branches are not too deep in each other")
        while first < end:
            row = self.table.rows[first]
            require(first < row.end <= end and row.task == self.tasks, "rows lie within each other")
            match row.kind:
                case RowKind.RUN:
                    require(row.end == first + 1 and row.count > 0, "runs have tasks")
                    require(row.count <= len(self.table.tasks) - row.task, "runs have tasks")
                    for task in self.table.tasks[row.task : row.task + row.count]:
                        self._task(task)
                    self.tasks += row.count
                case RowKind.LOOP:
                    self._loop(first, row, depth)
                case RowKind.BRANCH:
                    self._branch(first, row, depth)
                case RowKind.BLOCK:
                    require(False, "blocks belong to loops and branches")
            first = row.end

    def _blocks(self, number: int, row: ControlRow) -> Iterator[tuple[int, int]]:
        """Where the blocks of a loop or branch begin and end."""
        first = number + 1
        while first < row.end:
            block = self.table.rows[first]
            require(block.kind is RowKind.BLOCK and first < block.end <= row.end, "rows lie within each other")
            require(block.task == self.tasks, "rows lie within each other")
            yield first + 1, block.end
            first = block.end

    def _loop(self, number: int, row: ControlRow, depth: int) -> None:
        require(row.length >= 0, "loops have lengths")
        require(row.limit < 0 or (row.length < LIMITLESS and row.test < 0), "loops end in one way")
        self._steering(row.limit, int64, self.reads)
        self._steering(row.counter, int64, self.writes)
        own = self._enter(row)
        windows = self.table.windows[row.window : row.window + row.windows]
        moving = {w.buffer for w in windows if not self._is_inside_after(w, row.length)}
        fixed = {**self.known, **{n: behind for n, behind in own.items() if n not in moving}}
        count = 0
        for start, end in self._blocks(number, row):
            self.known = {**fixed, **own} if count else dict(fixed)  # at the start there may be no iteration at all
            self._rows(start, end, depth + 1)
            if count == 1:  # the condition
                self._steering(row.test, bool_, self.reads)
            count += 1
        require(count == 3, "loops have three blocks")
        self.known = fixed

    def _branch(self, number: int, row: ControlRow, depth: int) -> None:
        self._steering(row.test, int32, self.reads)
        require(row.test >= 0 and number + 1 < row.end, "branches have an index and arms")
        before = self.known
        for start, end in self._blocks(number, row):
            self.known = dict(before)
            self._rows(start, end, depth + 1)
        self.known = before

    def _enter(self, row: ControlRow) -> dict[int, frozenset[int]]:
        """The windows of a loop, with what they point into."""
        require(row.window == self.windows and row.swap == self.swaps, "windows are in order")
        require(0 <= row.windows <= len(self.table.windows) - row.window, "windows are there")
        require(0 <= row.swaps <= len(self.table.swaps) - row.swap, "swaps are there")
        self.windows += row.windows
        self.swaps += row.swaps
        windows = self.table.windows[row.window : self.windows]
        found = {w.buffer: self._window(w, row.length) for w in windows}
        require(len(found) == len(windows) and not found.keys() & self.known.keys(), "windows have one place")
        fixed = {w.buffer for w in windows if not w.stride}
        pairs = self.table.swaps[row.swap : self.swaps]
        swapped = [number for pair in pairs for number in pair]
        require(len(set(swapped)) == len(swapped) and set(swapped) <= fixed, "swaps are of windows that stay")
        for a, b in pairs:
            require(self._buffer(a).type.nbytes == self._buffer(b).type.nbytes, "swaps are of equal sizes")
            found[a] = found[b] = found[a] | found[b]
        return found

    def _window(self, window: Window, length: int) -> frozenset[int]:
        """Whether it stays inside of its buffer; the buffers that it points into."""
        buffer, of = self._buffer(window.buffer), self._buffer(window.of)
        require(buffer.space is Space.WINDOW, "windows are windows")
        roots = self._behind(window.of)
        far = abs(window.stride) * max(0, length - 1)
        require(window.stride == 0 or length < LIMITLESS, "windows of endless loops stay")
        empty = length == 0 and window.stride != 0
        inside = window.offset >= 0 and window.offset + far + buffer.type.nbytes <= of.type.nbytes
        require(empty or inside, "windows lie inside of their buffers")
        return roots

    def _is_inside_after(self, window: Window, length: int) -> bool:
        """Whether it lies in its buffer also when the loop is over, one step behind the last iteration."""
        end = window.offset + window.stride * length + self._buffer(window.buffer).type.nbytes
        return not window.stride or (window.stride > 0 and end <= self._buffer(window.of).type.nbytes)

    def _buffer(self, number: int) -> Buffer:
        require(0 <= number < len(self.native.buffers), "tables use buffers that exist")
        return self.native.buffers[number]

    def _behind(self, number: int) -> frozenset[int]:
        """The buffers, none of them a window, whose memory this one may be by now."""
        if self._buffer(number).space is not Space.WINDOW:
            return frozenset({number})
        require(number in self.known, "windows are used where a loop has set them")
        return self.known[number]

    def _steering(self, number: int, dtype: DType, allowed: frozenset[Space]) -> None:
        """A buffer that a loop or branch itself reads or writes; −1 for none."""
        if number != -1:
            type_ = self._buffer(number).type
            require(type_.dtype is dtype and type_.size > 0, "loops and branches are steered by numbers")
            require(self._is_in(number, allowed), "loops and branches use only what is theirs")

    def _is_in(self, number: int, spaces: frozenset[Space], more: Collection[int] = ()) -> bool:
        return all(r in more or self.native.buffers[r].space in spaces for r in self._behind(number))

    def _task(self, task: TaskSpec) -> None:
        """Whether a task gives its function what that needs: all that it may touch lies inside buffers that are its
        own."""
        native = self.native
        require(SYMBOL.fullmatch(task.symbol) is not None and task.symbol in native.functions, "tasks call kernels")
        function = native.functions[task.symbol]
        require(task.units == function.units, "tasks do the work of their functions")
        sizes = {len(task.slots), len(function.nbytes), len(function.uses)}
        require(len(sizes) == 1, "tasks have the slots of their functions")
        for number, nbytes, use in zip(task.slots, function.nbytes, function.uses, strict=True):
            require(nbytes <= self._buffer(number).type.nbytes, "buffers hold what functions want in them")
            match use:
                case Use.READ:
                    allowed = self._is_in(number, self.reads)
                case Use.WRITE:
                    allowed = self._is_in(number, self.writes, self.updated)
                case Use.SCRATCH:
                    allowed = self._is_in(number, SCRATCH)
            require(allowed, "tasks write only what is theirs")


def require(holds: bool, rule: str) -> None:
    if not holds:
        raise PackageError(f"the tables of the program are damaged: {rule}")
