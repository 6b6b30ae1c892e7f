"""Control on the host: it carries out a program's launches in order, goes through loops, and chooses branches.

In: a program's steps, a device's memory. Out: launches on places that are known. Predicates and indices are read back,
each of which waits for the device; a loop whose length is known waits for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from graphc.dataclass import dataclass, replace
from graphc.types import DType

from .launches import Launch


@dataclass(frozen=True)
class Place:
    """Elements of `dtype` at a byte offset of a region of memory; or where a window points, by its buffer's number."""

    region: int
    offset: int
    dtype: DType
    window: int | None = None


@dataclass(frozen=True)
class BoundLaunch:
    """A launch of module number `module` on places in memory."""

    module: int
    launch: Launch
    places: tuple[Place, ...]


@dataclass(frozen=True)
class HostWindow:
    """A window of a loop, see `graphc.schedule.Window`."""

    buffer: int
    of: Place
    stride: int
    offset: int


@dataclass(frozen=True)
class HostLoop:
    """A loop, see `graphc.schedule.LoopStep`."""

    length: int | None
    limit: Place | None
    predicate: Place | None
    counter: Place | None
    start: tuple[Item, ...]
    condition: tuple[Item, ...]
    body: tuple[Item, ...]
    windows: tuple[HostWindow, ...]
    swaps: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class HostBranch:
    """A branch, see `graphc.schedule.BranchStep`."""

    index: Place
    arms: tuple[tuple[Item, ...], ...]


Item: TypeAlias = BoundLaunch | HostLoop | HostBranch


class DeviceMemory(Protocol):
    """A program's regions on a device."""

    def write(self, region: int, data: np.ndarray, offset: int = 0) -> None:
        """Fill a region with an array's bytes, from a byte on."""

    def read(self, region: int, data: np.ndarray, offset: int = 0) -> None:
        """Fill an array with a region's bytes, once all launches have ended."""

    def run(self, launches: Sequence[BoundLaunch]) -> None:
        """Carry out launches in order."""


class Control:
    """One way through a program's steps."""

    def __init__(self, memory: DeviceMemory, status: int, statuses: int) -> None:
        """`status`: the region of the statuses, of which there are so many."""
        self._memory = memory
        self._status = status
        self._statuses = np.zeros(statuses, np.int32)
        self._windows: dict[int, Place] = {}
        self._waiting: list[BoundLaunch] = []

    def run(self, items: Iterable[Item]) -> None:
        self._block(items)
        self._flush()

    def _flush(self) -> None:
        self._memory.run(self._waiting)
        self._waiting = []

    def _block(self, items: Iterable[Item]) -> None:
        for item in items:
            match item:
                case BoundLaunch():
                    places = tuple(self._place(p) for p in item.places)
                    self._waiting.append(item if places == item.places else replace(item, places=places))
                case HostLoop():
                    self._loop(item)
                case HostBranch():
                    chosen = self._read(item.index, np.int32)
                    self._block(item.arms[max(0, min(chosen, len(item.arms) - 1))])

    def _place(self, place: Place) -> Place:
        if place.window is None:
            return place
        at = self._windows[place.window]
        return Place(at.region, at.offset, place.dtype)

    def _read(self, place: Place, dtype: type[np.generic]) -> int:
        """A number in memory, after all launches so far."""
        self._flush()
        at, found = self._place(place), np.zeros(1, dtype)
        self._memory.read(at.region, found, at.offset)
        return int(found[0])

    def _met_a_bad_index(self) -> bool:
        """What a loop would go on with then is worth nothing, and might not let it end."""
        self._memory.read(self._status, self._statuses)
        return bool(self._statuses.any())

    def _loop(self, loop: HostLoop) -> None:
        length = loop.length
        if loop.limit is not None and length is not None:
            length = max(0, min(length, self._read(loop.limit, np.int64)))
        for w in loop.windows:
            at = self._place(w.of)
            back = -w.stride * ((length or 0) - 1) if w.stride < 0 else 0
            self._windows[w.buffer] = replace(at, offset=at.offset + w.offset + back)
        self._block(loop.start)
        count = 0
        for done in self._iterations(loop, length):
            count = done
            self._block(loop.body)
            for w in loop.windows:
                at = self._windows[w.buffer]
                self._windows[w.buffer] = replace(at, offset=at.offset + w.stride)
            for a, b in loop.swaps:
                self._windows[a], self._windows[b] = self._windows[b], self._windows[a]
        if loop.counter is not None:
            self._flush()
            at = self._place(loop.counter)
            self._memory.write(at.region, np.array([count], np.int64), at.offset)

    def _iterations(self, loop: HostLoop, length: int | None) -> Iterator[int]:
        """Counts iterations, from 1, for as long as there are any."""
        done = 0
        while length is None or done < length:
            if loop.predicate is not None:
                self._block(loop.condition)
                if not self._read(loop.predicate, np.uint8) or self._met_a_bad_index():
                    return
            done += 1
            yield done
