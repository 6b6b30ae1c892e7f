"""What a device is: memory of its own, and a queue of work.

There is one object for each device in a process (`opened`). What is asked of it is carried out in the order in which it
was asked for; only `download` and `synchronize` wait. How programs get there and are launched is a backend's business.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any, Protocol
from weakref import WeakValueDictionary

import numpy as np

CPU = "cpu"  # the host, which is no `Device`: its memory is that of NumPy's arrays
CPU_CODE = (1, 0)  # what DLPack calls it


class Block:
    """Memory of a device, from an address of the device's on. It is given back when nobody holds the block any more.
    `owner`: what is kept alive until then."""

    __slots__ = ("__weakref__", "address", "nbytes", "owner")

    def __init__(self, address: int, nbytes: int, owner: Any = None) -> None:
        self.address = address
        self.nbytes = nbytes
        self.owner = owner


class Device(Protocol):
    """A device of this process; compared by identity."""

    name: str  # as users call it: "cuda:0"
    code: tuple[int, int]  # DLPack's type of device, and the number among those of its type
    stream: int | None  # DLPack's number of the queue; None where there is nothing to wait for

    def allocate(self, nbytes: int) -> Block:
        """Memory with undefined contents that starts at a multiple of 64 bytes."""
        ...

    def upload(self, block: Block, array: np.ndarray, offset: int = 0) -> None:
        """Copy an array's bytes into a block, from a byte on. The array may change when this returns."""
        ...

    def download(self, block: Block, array: np.ndarray, offset: int = 0) -> None:
        """Fill an array with a block's bytes, from a byte on, once all that was asked for before is done."""
        ...

    def copy(self, source: Block, target: Block) -> None:
        """Copy a block into another one of this device that is as large."""
        ...

    def synchronize(self) -> None:
        """Wait until all that was asked for is done."""
        ...


_opened: WeakValueDictionary[str, Device] = WeakValueDictionary()


def opened(name: str) -> Device | None:
    """The device of that name, if this process has one open."""
    return _opened.get(name)


def with_code(code: tuple[int, int]) -> Device | None:
    """The device that DLPack knows by this number, if this process has it open."""
    return next((d for d in _opened.values() if d.code == code), None)


def wait_for_all() -> None:
    """Wait until all that devices of this process were asked for is done, as whoever measures time has to."""
    for device in list(_opened.values()):
        device.synchronize()


def note_opened(device: Device) -> None:
    """Called by each device when it has been opened."""
    _opened[device.name] = device


def memory_at(address: int, nbytes: int, owner: object) -> np.ndarray:
    """The bytes from an address on, as an array that keeps their owner alive; on a device, for DLPack's eyes only."""
    span = _span(nbytes).from_address(address)
    span.owner = owner
    return np.frombuffer(span, np.uint8)


class _Owned:
    """What arrays over someone's memory keep alive."""

    owner: object


@lru_cache(maxsize=256)
def _span(nbytes: int) -> Any:
    return type("Span", (_Owned, ctypes.c_char * nbytes), {})
