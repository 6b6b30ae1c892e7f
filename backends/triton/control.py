"""Control on the host: it carries out a program's launches in order, goes through loops, and chooses branches.

In: a program's steps, its code and its memory on a device. Out: launches on places that are known. Predicates and
indices are read back, each of which waits for the device; a loop whose length is known waits for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from graphc.dataclass import dataclass, replace
from graphc.devices import Block, Device
from graphc.storage import Action, Storage, in_one_step
from graphc.types import DType

from .launches import Launch


@dataclass(frozen=True)
class Region:
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
    places: tuple[Region, ...]


@dataclass(frozen=True)
class HostWindow:
    """A window of a loop, see `graphc.schedule.Window`."""

    buffer: int
    of: Region
    stride: int
    offset: int


@dataclass(frozen=True)
class HostLoop:
    """A loop, see `graphc.schedule.LoopStep`."""

    length: int | None
    limit: Region | None
    predicate: Region | None
    counter: Region | None
    start: tuple[Item, ...]
    condition: tuple[Item, ...]
    body: tuple[Item, ...]
    windows: tuple[HostWindow, ...]
    swaps: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class HostBranch:
    """A branch, see `graphc.schedule.BranchStep`."""

    index: Region
    arms: tuple[tuple[Item, ...], ...]


Item: TypeAlias = BoundLaunch | HostLoop | HostBranch


class Code(Protocol):
    """A program's functions, loaded on a device."""

    def calls(self, launches: Sequence[BoundLaunch], blocks: Sequence[Block]) -> list[Action]:
        """What is to be called, in this order, to have the launches carried out, on these blocks for the regions:
        functions of C's, so that all of it can be `in_one_step`."""
        ...

    def check(self, answers: Sequence[object]) -> None:
        """Raise CompileError if one of the answers of such calls is none of success."""
        ...


class Memory:
    """A program's regions on a device, as they are in one call."""

    def __init__(self, device: Device, code: Code, blocks: Sequence[Block]) -> None:
        self._device = device
        self._code = code
        self._blocks = blocks

    def write(self, region: int, data: np.ndarray, offset: int = 0) -> None:
        """Fill a region with an array's bytes, from a byte on."""
        if data.nbytes:
            self._device.upload(self._blocks[region], data, offset)

    def read(self, region: int, data: np.ndarray, offset: int = 0) -> None:
        """Fill an array with a region's bytes, once all launches have ended."""
        if data.nbytes:
            self._device.download(self._blocks[region], data, offset)

    def run(
        self,
        launches: Sequence[BoundLaunch],
        seen: Sequence[tuple[Storage, int]] = (),
        then: Sequence[Action] = (),
    ) -> bool:
        """Carry out launches in order, and what is to be called then, in one step of Python's; False, and nothing has
        happened, unless each storage is of the version that was seen."""
        calls = self._code.calls(launches, self._blocks) if launches else []
        answers = in_one_step(seen, [*calls, *then])
        if answers is not None:
            self._code.check(answers[: len(calls)])
        return answers is not None


class Control:
    """One way through a program's steps."""

    def __init__(self, memory: Memory, status: int, statuses: int) -> None:
        """`status`: the region of the statuses, of which there are so many."""
        self._memory = memory
        self._status = status
        self._statuses = np.zeros(statuses, np.int32)
        self._windows: dict[int, Region] = {}
        self._waiting: list[BoundLaunch] = []

    def run(self, items: Iterable[Item]) -> None:
        self._block(items)
        self._flush()

    def launches(self, items: Iterable[Item]) -> list[BoundLaunch]:
        """The launches of items that `run` needs no answers for."""
        self._block(items)
        found, self._waiting = self._waiting, []
        return found

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

    def _place(self, place: Region) -> Region:
        if place.window is None:
            return place
        at = self._windows[place.window]
        return Region(at.region, at.offset, place.dtype)

    def _read(self, place: Region, dtype: type[np.generic]) -> int:
        """A number in memory, after all launches so far."""
        self._flush()
        at, found = self._place(place), np.zeros(1, dtype)
        self._memory.read(at.region, found, at.offset)
        return int(found[0])

    def bad_indices(self) -> np.ndarray:
        """The statuses: not 0 for each step that has met one so far."""
        self._memory.read(self._status, self._statuses)
        return self._statuses

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
                if not self._read(loop.predicate, np.uint8) or self.bad_indices().any():
                    return  # after a bad index, what it would go on with is worth nothing, and might not let it end
            done += 1
            yield done
