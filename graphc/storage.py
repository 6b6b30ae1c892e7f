"""Memory with residence: one array's contents, in the host's memory, on devices, or both.

Each place holds a copy and the version that it is of; what is out of date is renewed when someone asks for it, so that
contents move only where they are needed. Whoever changes the contents raises the version, so that prepared work
(packed weights), snapshots and copies elsewhere are known to be out of date.

Callers hold the process's call lock. A signal handler or a finalizer may come between any two steps of Python's, and
may do all that is done here: what belongs together is therefore done `in_one_step`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from ctypes import addressof, c_int64
from itertools import chain, repeat, starmap
from operator import call, eq, getitem, is_, setitem
from typing import Any, TypeAlias

import numpy as np

from .devices import Block, Device
from .types import TensorType, type_of

WRITE = 2  # what a write adds to a version; native code adds 1
ALIGNMENT = 64   # bytes: a cache line, and the widest vector
_VERSION, _AWAY, _BOTH = 0, 1, slice(2)  # a storage's numbers, which native code reads
_Numbers = c_int64 * 2

Action: TypeAlias = tuple[Any, ...]  # a function of C's, and its arguments


def aligned_empty(type_: TensorType) -> np.ndarray:
    """An uninitialized C-contiguous array whose data start at a multiple of 64 bytes."""
    raw = np.empty(type_.nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    array: np.ndarray = raw[start : start + type_.nbytes].view(type_.dtype.numpy).reshape(type_.shape)
    return array


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """A copy whose data start at a multiple of 64 bytes, so that no vector of it lies across two cache lines; of a few
    elements, which are not worth it, any copy."""
    if array.nbytes < 1 << 12:
        return array.copy()
    copy = aligned_empty(type_of(array))
    copy[...] = array
    return copy


class Replica:
    """A copy on a device, of the contents at a version. `lent`: the replica of a snapshot that shares the block, as
    long as there is one; then nobody writes to the block."""

    __slots__ = ("__weakref__", "block", "device", "lent", "version")

    def __init__(self, device: Device, block: Block, version: int) -> None:
        self.device = device
        self.block = block
        self.version = version
        self.lent: weakref.ref[Replica] | None = None

    @property
    def is_lent(self) -> bool:
        return self.lent is not None and self.lent() is not None

    def copied(self) -> Replica:
        """The same contents in a block of their own."""
        own = Replica(self.device, self.device.allocate(max(1, self.block.nbytes)), self.version)
        self.device.copy(self.block, own.block)
        return own


class Storage:
    """A Variable's memory, or that of a result which a device has computed and nobody changes.

    The host's copy never moves, and is up to date unless the storage is *away*: its newest contents are on a device
    only. Version and this flag are kept where native code finds them: a call looks at them, and raises versions, in the
    same step in which it runs.
    """

    __slots__ = ("__weakref__", "_array", "_newest", "_numbers", "_replicas", "name", "type")

    _array: np.ndarray | None

    def __init__(self, value: np.ndarray, type_: TensorType, name: str = "") -> None:
        self._begin(type_, name)
        self.host_memory[...] = value

    @classmethod
    def over(cls, array: np.ndarray) -> Storage:
        """In the memory of an array, which is C-contiguous and aligned, and belongs to the storage from now on."""
        made = cls.__new__(cls)
        made._begin(type_of(array), "")
        made._array = array
        return made

    @classmethod
    def of_replica(cls, replica: Replica, type_: TensorType) -> Storage:
        """With contents that are on a device only."""
        made = cls.__new__(cls)
        made._begin(type_, "")
        made._newest = replica
        made._replicas[replica.device] = replica
        made._numbers[:] = [replica.version, 1]
        return made

    def _begin(self, type_: TensorType, name: str) -> None:
        self.type = type_
        self.name = name
        self._array = None  # until someone on the host wants it
        self._numbers = _Numbers()
        self._newest: Replica | None = None  # what a storage that is away is to be copied from
        self._replicas: dict[Device, Replica] = {}

    @property
    def version(self) -> int:
        """A number that rises with every change of the contents."""
        return self._numbers[_VERSION]

    @property
    def version_address(self) -> int:
        """Where the version is, as an int64."""
        return addressof(self._numbers)

    @property
    def away_address(self) -> int:
        """Where an int64 is that is not 0 while the storage is away: then native code has to leave it alone."""
        return addressof(self._numbers) + 8 * _AWAY

    @property
    def is_away(self) -> bool:
        """Whether the newest contents are on a device only."""
        return bool(self._numbers[_AWAY])

    @property
    def device(self) -> Device | None:
        """The device that has made what the storage holds, whether the host has a copy by now or not; None where the
        host has made it."""
        newest = self._newest
        return newest.device if newest is not None and newest.version == self.version else None

    @property
    def array(self) -> np.ndarray:
        """The contents in the host's memory, to be read only; always in the same place."""
        self.bring_home()
        return self.host_memory

    def bring_home(self) -> None:
        """Copy what is on a device only to the host."""
        while self._numbers[_AWAY]:
            version, newest = self.version, self._newest
            assert newest is not None
            newest.device.download(newest.block, self.host_memory)
            in_one_step([(self, version)], [(setitem, self._numbers, _AWAY, 0)])

    @property
    def host_memory(self) -> np.ndarray:
        """Where `array` is, or will be; the contents may be out of date."""
        if self._array is None:
            self._array = aligned_empty(self.type)
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.array, dtype, copy=copy)

    def write(self, value: np.ndarray) -> None:
        """Overwrite the contents; shape and dtype are the caller's business."""
        write_all([(self, value)])

    # On devices

    def on(self, device: Device) -> Replica:
        """The contents on a device, up to date; only to be read."""
        known = self._replicas.get(device)
        while known is None or known.version != self.version:
            version, array = self.version, self.array
            block = device.allocate(self.type.nbytes) if known is None or known.is_lent else known.block
            device.upload(block, array)
            known = self._replicas[device] = Replica(device, block, version)
        return known

    def writable_on(self, device: Device) -> Replica:
        """As `on`, in a block that no snapshot shares. Who has written to it says so with `written`."""
        shared = self.on(device)
        if not shared.is_lent:
            return shared
        own = shared.copied()
        self._replicas[device] = own
        if self._newest is shared:
            self._newest = own
        return own

    def written(self, replica: Replica, version: int) -> list[Action]:
        """What is to be called, `in_one_step` with what writes it, when a replica that was of this version gets new
        contents: it is the newest then."""
        new = version + WRITE
        return [
            (setattr, replica, "version", new),
            (setattr, self, "_newest", replica),
            (setitem, self._replicas, replica.device, replica),
            (setitem, self._numbers, _BOTH, (new, 1)),
        ]

    def take(self, other: Storage) -> None:
        """Overwrite the contents with those of a storage of the same type that a device has made, there."""
        done, device = None, other.device
        assert device is not None
        while done is None:
            version, old = self.version, self._replicas.get(device)  # which is not let go of within the step
            own = other.on(device).copied()
            done = in_one_step([(self, version)], self.written(own, version))
        del old

    def snapshot(self) -> Storage:
        """The contents as they are now, of a storage that is away: in the same block, until the next write."""
        newest = self._newest
        assert newest is not None
        found = None if newest.lent is None else newest.lent()
        if found is None:
            found = Replica(newest.device, newest.block, 0)
            newest.lent = weakref.ref(found)
        return Storage.of_replica(found, self.type)


def write_all(changes: Sequence[tuple[Storage, np.ndarray]], seen: Sequence[tuple[Storage, int]] = ()) -> bool:
    """`write` to several in one step of Python's: no signal handler sees, and no interrupt leaves, some of them old and
    some new. `seen`: versions that the values were made from; False, and nothing has happened, if one has changed."""
    while all(storage.version == version for storage, version in seen):
        own = [(storage, storage.version) for storage, _ in changes]
        writes: list[Action] = [(setitem, storage.host_memory, ..., value) for storage, value in changes]
        writes += [(setitem, storage._numbers, _BOTH, (version + WRITE, 0)) for storage, version in own]
        if in_one_step((*seen, *own), writes) is not None:
            return True
    return False


def in_one_step(seen: Iterable[tuple[Storage, int]], calls: Iterable[Action]) -> list[Any] | None:
    """What the calls give, one after the other; None, and nothing has happened, unless each storage is of the version
    that was seen.

    For Python that is one step, so that no signal handler and no finalizer comes in between, if all that is called is C
    and lets go of nothing whose end runs Python.
    """
    pairs = tuple(seen)
    versions = map(getitem, [storage._numbers for storage, _ in pairs], repeat(_VERSION))
    answers: list[Any] = []
    same = map(eq, versions, [version for _, version in pairs])
    noted = map(answers.append, starmap(call, calls))
    return answers if all(chain(same, map(is_, noted, repeat(None)))) else None
