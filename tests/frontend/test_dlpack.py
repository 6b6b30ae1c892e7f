"""Memory that comes in and goes out through DLPack: not copied, kept alive, and not written to."""

from __future__ import annotations

import ctypes
import gc
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import graphc as gx
from graphc.devices import memory_at
from graphc.errors import DTypeError, OptionError
from graphc.frontend.dlpack import _inside, exported, from_host

LARGE = 1 << 20  # elements


class Producer:
    """Someone else's array. `copies`: how often its memory was not given itself."""

    def __init__(self, array: np.ndarray, device: tuple[int, int] = (1, 0), versioned: bool = True) -> None:
        self.array = array
        self.device = device
        self.versioned = versioned
        self.given = 0
        self.copies = 0

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, copy: bool | None = None, **options: Any) -> Any:
        if not self.versioned and options:
            raise TypeError("this producer is from before DLPack 1.0")
        self.given += 1
        self.copies += bool(copy)
        return exported(self.array.copy() if copy else self.array, self.versioned)


def shares(x: gx.Tensor, array: np.ndarray) -> bool:
    return np.shares_memory(x.numpy(), array)


def peak(call: Callable[[], Any]) -> int:
    """Bytes that NumPy had at most during a call beyond those before."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


MAKERS: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda a: a,
    "producer": Producer,
    "old producer": lambda a: Producer(a, versioned=False),
    "adopted": gx.from_dlpack,
    "tensor": gx.asarray,
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_calls_copy_nothing(kind: str, backend: str) -> None:
    total = gx.compile(lambda x: gx.max(x), backend=backend)
    x = MAKERS[kind](np.arange(LARGE, dtype=np.float32))
    for _ in range(3):
        assert total(x).item() == LARGE - 1
    assert peak(lambda: total(x)) < LARGE
    assert getattr(x, "copies", 0) == 0


def test_what_a_call_was_given_lives_until_it_ends() -> None:
    total = gx.compile(lambda x: gx.sum(x))
    for _ in range(5):
        assert total(Producer(np.ones(LARGE, np.float32))).item() == LARGE


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float64", "bfloat16"])
@pytest.mark.parametrize("versioned", [True, False])
def test_from_dlpack_shares_memory(dtype: str, versioned: bool) -> None:
    array = np.arange(6).astype(getattr(ml_dtypes, dtype, dtype)).reshape(2, 3)
    for given in (array, array.T, array[:, ::2], array[::-1]):
        x = gx.from_dlpack(Producer(given, versioned=versioned))
        assert str(x.dtype) == dtype and np.shares_memory(x._array, array)
        np.testing.assert_array_equal(x.numpy(), given)


def test_an_adopted_tensor_shows_what_its_owner_writes() -> None:
    array = np.zeros((2, 3), np.float32)
    x = gx.from_dlpack(Producer(array))
    views = [x.T, gx.reshape(x, (3, 2)), gx.flip(x, axis=0), gx.expand_dims(x, axis=1), gx.unstack(x)[1]]
    later = gx.compile(lambda: x * 1)
    assert later().tolist() == [[0, 0, 0], [0, 0, 0]]
    kept = {
        "copied": gx.from_dlpack(array, copy=True),
        "made an array": gx.asarray(array),
        "made a Variable": gx.Variable(x).value,
        "computed": x + 0,
        "selected": x[1:],
        "seen by a trace": later(),
        "the constant of a trace": None,
    }
    array[:] = 1
    kept["the constant of a trace"] = later()
    assert x.numpy().all() and all(v.numpy().all() for v in views)
    assert not [name for name, value in kept.items() if value.numpy().any()]
    assert not x.numpy().flags.writeable
    with pytest.raises(AttributeError, match="a Tensor has no astype"):
        x.astype("int8")  # type: ignore[attr-defined]
    assert not any(np.from_dlpack(v).flags.writeable for v in (x, *views))


def test_the_owner_lives_as_long_as_a_tensor_over_its_memory() -> None:
    array = np.ones(100, np.float32)
    alive = weakref.ref(array)
    x = gx.from_dlpack(Producer(array))
    view = gx.flip(x)
    del array, x
    gc.collect()
    assert alive() is not None and view.numpy().all()
    del view
    gc.collect()
    assert alive() is None


def test_copy_says_whether_it_may_be_copied() -> None:
    array = np.zeros(8, np.float32)
    unaligned = np.frombuffer(bytearray(33), np.uint8)[1:].view(np.float32)
    swapped = array.astype(">f4")
    for copy, is_shared in ((None, True), (False, True), (True, False)):
        assert shares(gx.from_dlpack(array, copy=copy), array) == is_shared
    assert shares(gx.asarray(array, copy=False), array) and not shares(gx.asarray(array), array)
    assert shares(gx.asarray(Producer(array), copy=False), array)
    assert gx.from_dlpack(unaligned).tolist() == gx.asarray(swapped).tolist() == [0] * 8
    for wrong in (lambda: gx.from_dlpack(unaligned, copy=False),
                  lambda: gx.trace(lambda: gx.from_dlpack(array, copy=False) + 1)):  # fmt: skip
        with pytest.raises(BufferError, match="leave out copy=False"):
            wrong()
    for other in (
        lambda: gx.asarray(unaligned, copy=False),
        lambda: gx.asarray(swapped, copy=False),
        lambda: gx.asarray(array, dtype="float64", copy=False),
        lambda: gx.asarray([1, 2], copy=False),
        lambda: gx.asarray(1.0, copy=False),
    ):
        with pytest.raises(ValueError, match="leave out copy=False"):
            other()
    with pytest.raises(OptionError):
        gx.from_dlpack(array, device="tpu")
    with pytest.raises(DTypeError, match="DLPack"):
        gx.from_dlpack([1, 2])


@pytest.mark.parametrize("kind", [3, 11, 13])
def test_pinned_memory_is_the_hosts(kind: int) -> None:
    array = np.arange(4, dtype=np.float32)
    assert shares(gx.from_dlpack(Producer(array, device=(kind, 0))), array)
    assert gx.compile(lambda x: gx.sum(x))(Producer(array, device=(kind, 0))).item() == 6


def test_what_comes_in_is_of_numbers_that_graphc_knows() -> None:
    with pytest.raises(DTypeError, match="complex64"):
        gx.from_dlpack(Producer(np.ones(2, np.complex64)))
    with pytest.raises(DTypeError, match="detach"):
        gx.from_dlpack(Refusing())
    with pytest.raises(BufferError, match=r"no function has run on device \(2, 3\)"):
        gx.from_dlpack(Producer(np.ones(2, np.float32), device=(2, 3)))


    with pytest.raises(DTypeError, match="no such device"):
        gx.from_dlpack(Nowhere())


class Nowhere:
    def __dlpack_device__(self) -> tuple[int, int]:
        raise ValueError("there is no such device")

    def __dlpack__(self, **options: Any) -> Any:
        raise ValueError("there is no such device")


class Refusing:
    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("this tensor wants gradients")


@pytest.mark.parametrize("dtype", ["bool", "int8", "float16", "float32", "bfloat16"])
def test_tensors_are_given_as_they_are(dtype: str) -> None:
    x = gx.asarray([1, 0, 1], dtype=dtype)
    capsule = x.__dlpack__(max_version=(1, 0))
    told = _inside(capsule)
    kinds = {"bool": (6, 8), "int8": (0, 8), "float16": (2, 16), "float32": (2, 32), "bfloat16": (4, 16)}
    assert (told.kind, told.bits, told.lanes) == (*kinds[dtype], 1)
    assert told.data == x.numpy().ctypes.data and (told.device_type, told.device_id) == (1, 0)
    assert x.__dlpack_device__() == (1, 0)
    del capsule
    back = gx.from_dlpack(Producer(x.numpy()))
    assert back.tolist() == x.tolist() and back.dtype is x.dtype


def test_bfloat16_goes_both_ways() -> None:
    """Through others that take it for what it is."""

    class Other:
        def __dlpack__(self, **options: Any) -> Any:
            return x.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return x.__dlpack_device__()

    x = gx.asarray([1.5, -2.0], dtype="bfloat16")
    assert from_host(Other()).tolist() == [1.5, -2.0]
    assert (gx.from_dlpack(Other()) * 2).tolist() == [3.0, -4.0]


def test_memory_at_an_address_keeps_its_owner() -> None:
    owner = np.arange(4, dtype=np.uint8)
    array = memory_at(owner.ctypes.data, 4, owner)
    alive = weakref.ref(owner)
    del owner
    assert array.tolist() == [0, 1, 2, 3] and alive() is not None
    assert isinstance(array.base, ctypes.Array) or array.base is not None
    del array
    gc.collect()
    assert alive() is None
