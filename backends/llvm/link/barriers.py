"""Where tasks must wait: a task that meets an earlier one on memory comes behind a barrier.

In: tasks in order, each with the buffers that it reads and writes. Out: which of them start behind a barrier. What was
touched since the last barrier is kept as ranges of memory, so a task is compared with memory and not with other tasks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from graphc.dataclass import dataclass, field
from graphc.schedule import Buffer, Space

SHARED_SPACES = (Space.ARENA, Space.PREPARED)  # where buffers may overlap


@dataclass(frozen=True)
class Access:
    """What a task does to memory. `gathers`: it may meet a bad index, which keeps all variables as they are, so that
    whatever writes one has to wait until that is known."""

    buffers: tuple[Buffer, ...]
    written: tuple[Buffer, ...]
    serial: bool
    gathers: bool

    @property
    def updates(self) -> bool:
        return any(b.space is Space.VARIABLE for b in self.written)


def barriers(tasks: Iterable[Access]) -> list[bool]:
    """Whether each task must wait for an earlier one, unless one thread does both."""
    result = []
    serial, shared = _Since(), _Since()
    for task in tasks:
        waits = shared.meets(task) or (not task.serial and serial.meets(task))
        if waits:
            serial, shared = _Since(), _Since()
        (serial if task.serial else shared).add(task)
        result.append(waits)
    return result


class _Ranges:
    """A set of whole numbers as ranges that do not touch, in order."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        first, last = bisect_left(self.stops, start), bisect_right(self.starts, stop)
        if first < last:
            start, stop = min(start, self.starts[first]), max(stop, self.stops[last - 1])
        self.starts[first:last], self.stops[first:last] = [start], [stop]

    def meets(self, start: int, stop: int) -> bool:
        """Whether a number of start ≤ n < stop is in the set."""
        first = bisect_right(self.stops, start)
        return first < len(self.starts) and self.starts[first] < stop


class _Memory:
    """A part of memory: ranges of bytes where buffers may overlap, else whole buffers by number."""

    def __init__(self) -> None:
        self.whole: set[int] = set()
        self.ranges = {space: _Ranges() for space in SHARED_SPACES}

    def add(self, buffers: Sequence[Buffer]) -> None:
        for b in buffers:
            if b.space in SHARED_SPACES:
                self.ranges[b.space].add(b.offset, b.offset + b.type.nbytes)
            else:
                self.whole.add(b.number)

    def meets(self, buffers: Sequence[Buffer]) -> bool:
        return any(
            self.ranges[b.space].meets(b.offset, b.offset + b.type.nbytes)
            if b.space in SHARED_SPACES
            else b.number in self.whole
            for b in buffers
        )


@dataclass
class _Since:
    """What some tasks since the last barrier have done."""

    touched: _Memory = field(default_factory=_Memory)
    written: _Memory = field(default_factory=_Memory)
    gathers: bool = False

    def add(self, task: Access) -> None:
        self.touched.add(task.buffers)
        self.written.add(task.written)
        self.gathers |= task.gathers

    def meets(self, task: Access) -> bool:
        """Whether one writes what the other touches, or a bad index has to be known first."""
        return (
            (self.gathers and task.updates)
            or self.written.meets(task.buffers)
            or self.touched.meets(task.written)
        )
