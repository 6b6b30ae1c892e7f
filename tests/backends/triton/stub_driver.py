"""CUDA's driver as far as graphc asks for it, on a GPU that is this process's memory: kernels go to the interpreter.

It takes what NVIDIA's bindings take, which it compares with them, and is stricter than a GPU: memory that was given
back is not touched again, and no thread asks for anything before it has made the context its own.
"""

from __future__ import annotations

import ctypes
import pickle
import threading
from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest

from graphc.backends.triton.compile import Artifact, Resources
from graphc.backends.triton.control import BoundLaunch, Region
from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.launches import KernelSource

SHARED = 64 * 1024  # what each kernel asks for: more than it may have without a word
CONTEXT, STREAM, POOL = 17, 4711, 99


def compiled(source: KernelSource, architecture: int, loose: Collection[int] = ()) -> tuple[Artifact, ...]:
    """In place of `compile_source`: the source itself is the machine code."""
    assert architecture == 90
    code = [(x, pickle.dumps((source.text, x))) for x in source.launches]
    return tuple(Artifact(x, x.function, "", c, 32 * x.warps, Resources(32, SHARED, 0)) for x, c in code)


class StubDriver:
    def __init__(self, interpreter: Interpreter) -> None:
        self.real = pytest.importorskip("cuda.bindings.driver")
        self.interpreter = interpreter
        self.memory: dict[int, np.ndarray] = {}
        self.counts: Counter[str] = Counter()
        self.threads: set[int] = set()
        # What a function answers instead of success. Of ordinary memory CUDA knows nothing.
        self.failing: dict[str, Any] = {"cuPointerGetAttribute": self.real.CUresult.CUDA_ERROR_INVALID_VALUE}
        self.limit = 0  # bytes that there are, if there is a limit
        self.waiting = False  # for the stream

    def __getattr__(self, name: str) -> Any:
        """A function, which counts its calls; enumerations and types are the real ones."""
        if not hasattr(type(self), f"do_{name}"):
            return getattr(self.real, name)
        made = getattr(self, f"do_{name}")
        takes = getattr(self.real, name).__doc__.splitlines()[0].count(",") + 1

        def call(*args: Any) -> tuple[Any, ...]:
            assert len(args) == takes or not args, f"{name} takes {takes} arguments: {args}"
            assert threading.get_ident() in self.threads or name in FIRST, f"{name} without a context"
            self.counts[name] += 1
            if name in self.failing:
                return (self.failing[name],)
            if name == "cuMemAllocAsync" and self.limit and args[0] > self.limit - self.used:
                return (self.real.CUresult.CUDA_ERROR_OUT_OF_MEMORY, 0)
            found = made(*args)
            return (self.real.CUresult.CUDA_SUCCESS,) if found is None else (self.real.CUresult.CUDA_SUCCESS, found)

        return call

    @property
    def used(self) -> int:
        return sum(m.nbytes for m in self.memory.values())

    def find(self, address: int, nbytes: int = 1) -> tuple[int, int]:
        """The start of the block that these bytes are in, and how far into it they are."""
        for start, memory in self.memory.items():
            if start <= address and address + nbytes <= start + memory.nbytes:
                return start, address - start
        raise AssertionError(f"{nbytes} bytes at {address:x} are not anybody's")

    def part(self, address: int, nbytes: int) -> np.ndarray:
        start, offset = self.find(address, nbytes)
        return self.memory[start][offset : offset + nbytes]

    def do_cuGetErrorString(self, status: Any) -> bytes:
        return b"the stub was told to fail"

    def do_cuInit(self, flags: int) -> None:
        pass

    def do_cuDriverGetVersion(self) -> int:
        return 13000

    def do_cuDeviceGetCount(self) -> int:
        return 1

    def do_cuDeviceGet(self, number: int) -> int:
        return number

    def do_cuDevicePrimaryCtxRetain(self, device: int) -> int:
        return CONTEXT

    def do_cuCtxSetCurrent(self, context: int) -> None:
        assert context == CONTEXT
        self.threads.add(threading.get_ident())

    def do_cuStreamCreate(self, flags: int) -> int:
        return STREAM

    def do_cuDeviceGetAttribute(self, kind: Any, device: int) -> int:
        return 9 if kind.name.endswith("MAJOR") else 0

    def do_cuDeviceGetName(self, length: int, device: int) -> bytes:
        return b"Stub\0\0"

    def do_cuDeviceTotalMem(self, device: int) -> int:
        return 1 << 30

    def do_cuDeviceGetDefaultMemPool(self, device: int) -> int:
        return POOL

    def do_cuMemPoolSetAttribute(self, pool: int, kind: Any, value: Any) -> None:
        assert pool == POOL and int(value) == 2**64 - 1

    def do_cuMemAllocAsync(self, nbytes: int, stream: int) -> int:
        assert nbytes and stream == STREAM
        raw = np.full(nbytes + 256, 0xA5, np.uint8)
        memory = raw[-raw.ctypes.data % 256 :][:nbytes]
        self.memory[memory.ctypes.data] = memory
        return int(memory.ctypes.data)

    def do_cuMemFreeAsync(self, address: int, stream: int) -> None:
        del self.memory[address]

    def do_cuMemcpyHtoDAsync(self, target: int, source: int, nbytes: int, stream: int) -> None:
        ctypes.memmove(self.part(target, nbytes).ctypes.data, source, nbytes)

    def do_cuMemcpyDtoHAsync(self, target: int, source: int, nbytes: int, stream: int) -> None:
        ctypes.memmove(target, self.part(source, nbytes).ctypes.data, nbytes)
        self.waiting = True

    def do_cuMemcpyDtoDAsync(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self.part(target, nbytes)[:] = self.part(source, nbytes)

    def do_cuPointerGetAttribute(self, kind: Any, address: int) -> int:
        return 1

    def do_cuStreamSynchronize(self, stream: int) -> None:
        assert stream == STREAM
        self.waiting = False

    def do_cuModuleLoadData(self, image: bytes) -> Any:
        return pickle.loads(image)

    def do_cuModuleGetFunction(self, module: Any, name: bytes) -> Any:
        assert module[1].function == name.decode()
        return module

    def do_cuFuncSetAttribute(self, function: Any, kind: Any, value: int) -> None:
        assert kind.name.endswith("MAX_DYNAMIC_SHARED_SIZE_BYTES") and value == SHARED

    def do_cuLaunchKernel(self, function: Any, x: int, y: int, z: int, bx: int, by: int, bz: int, shared: int,
                          stream: int, parameters: Any, extra: int) -> None:  # fmt: skip
        text, launch = function
        assert (x, y, z, bx, by, bz) == (launch.programs, 1, 1, 32 * launch.warps, 1, 1)
        assert (shared, stream, extra) == (SHARED, STREAM, 0)
        table = np.frombuffer(memoryview(parameters), np.uint64)  # as the bindings look at it
        values = [ctypes.c_uint64.from_address(int(p)).value for p in table[: len(launch.parameters) + 2]]
        assert values[-2:] == [0, 0]
        starts = list(self.memory)
        places = []
        for parameter, address in zip(launch.parameters, values, strict=False):
            start, offset = self.find(address)
            places.append(Region(starts.index(start), offset, parameter.dtype))
        self.interpreter.run([text], [BoundLaunch(0, launch, tuple(places))], list(self.memory.values()))


# What may be asked for without a context.
FIRST = (
    "cuGetErrorString", "cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet",
    "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent",
)  # fmt: skip
