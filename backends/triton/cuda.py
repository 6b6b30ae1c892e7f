"""Programs on an NVIDIA GPU, through the CUDA driver: no PyTorch, and none of CUDA's run-time libraries.

In: a program. Out: its cubins loaded, its regions allocated, its launches carried out on one stream.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from graphc.dataclass import dataclass
from graphc.errors import CompileError, UnsupportedError

from .compile import Artifact, compile_source
from .control import BoundLaunch
from .program import Program

# Beyond its parameters, Triton's compiled functions take two pointers to scratch memory, which ours never use.
COMPILER_POINTERS = 2
DEFAULT_SHARED = 48 * 1024  # bytes a program may take without asking


@dataclass(frozen=True)
class LoadedFunction:
    """A function on the device."""

    handle: Any
    artifact: Artifact


Functions = dict[tuple[int, str], LoadedFunction]


class Device:
    """The first GPU: its primary context and a stream. Raises UnsupportedError where one can't be had."""

    def __init__(self) -> None:
        driver = _driver()
        self._driver = driver
        _call(driver.cuInit(0), "start the driver")
        if _call(driver.cuDeviceGetCount(), "count devices") == 0:
            raise _missing("the driver knows no device")
        self._device = _call(driver.cuDeviceGet(0), "open the first device")
        self._context = _call(driver.cuDevicePrimaryCtxRetain(self._device), "make a context")
        self.use()
        self._stream = _call(
            driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING), "make a stream"
        )
        kinds = driver.CUdevice_attribute
        major, minor = (
            _call(driver.cuDeviceGetAttribute(kind, self._device), "ask for the compute capability")
            for kind in (
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )  # fmt: skip
        self.architecture: int = 10 * major + minor

    def describe(self) -> dict[str, object]:
        """What measurements say of it: name, compute capability, memory in bytes, version of the driver."""
        driver = self._driver
        name = _call(driver.cuDeviceGetName(128, self._device), "ask for the name")
        return {
            "device": name.split(b"\0")[0].decode(),
            "compute_capability": self.architecture,
            "memory": int(_call(driver.cuDeviceTotalMem(self._device), "ask for the memory")),
            "driver": int(_call(driver.cuDriverGetVersion(), "ask for the version")),
        }

    def use(self) -> None:
        """Make the context the calling thread's own."""
        _call(self._driver.cuCtxSetCurrent(self._context), "use the context")

    def load(self, program: Program) -> Functions:
        """Compile a program's modules for this device and load them."""
        functions: Functions = {}
        for number, module in enumerate(program.modules):
            for artifact in compile_source(module.source, self.architecture, module.loose):
                functions[number, artifact.launch.function] = self._load(artifact)
        return functions

    def _load(self, artifact: Artifact) -> LoadedFunction:
        driver = self._driver
        module = _call(driver.cuModuleLoadData(artifact.cubin), f"load {artifact.symbol}")
        handle = _call(
            driver.cuModuleGetFunction(module, artifact.symbol.encode()), f"find {artifact.symbol}"
        )
        if artifact.resources.shared > DEFAULT_SHARED:
            kind = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _call(driver.cuFuncSetAttribute(handle, kind, artifact.resources.shared), "reserve shared memory")
        return LoadedFunction(handle, artifact)

    def allocate(self, program: Program, functions: Functions) -> CudaMemory:
        """Memory for a program's regions. The statuses start at 0, the rest undefined."""
        addresses = [self._allocate(size) for size in program.sizes]
        memory = CudaMemory(self, functions, addresses)
        weakref.finalize(memory, self._free, tuple(addresses))
        memory.write(program.status, np.zeros(program.sizes[program.status], np.uint8))
        return memory

    def _allocate(self, size: int) -> int:
        return int(_call(self._driver.cuMemAlloc(max(size, 1)), f"allocate {size} bytes"))

    def _free(self, addresses: Sequence[int]) -> None:
        self.use()
        for address in addresses:
            _call(self._driver.cuMemFree(address), "free memory")

    def upload(self, address: int, data: np.ndarray) -> None:
        driver = self._driver
        _call(
            driver.cuMemcpyHtoDAsync(address, data.ctypes.data, data.nbytes, self._stream),
            "copy to the device",
        )

    def download(self, data: np.ndarray, address: int) -> None:
        driver = self._driver
        _call(
            driver.cuMemcpyDtoHAsync(data.ctypes.data, address, data.nbytes, self._stream),
            "copy from the device",
        )
        _call(driver.cuStreamSynchronize(self._stream), "carry out a program")

    def launch(self, function: LoadedFunction, programs: int, pointers: Sequence[int]) -> None:
        """Start `programs` programs of a function; returns before they have run."""
        artifact = function.artifact
        values = [ctypes.c_uint64(p) for p in (*pointers, *[0] * COMPILER_POINTERS)]
        table = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        _call(
            self._driver.cuLaunchKernel(
                function.handle, programs, 1, 1, artifact.threads, 1, 1, artifact.resources.shared, self._stream,
                ctypes.addressof(table), 0,
            ),
            f"launch {artifact.symbol}",
        )  # fmt: skip


class CudaMemory:
    """A program's regions on the device."""

    def __init__(self, device: Device, functions: Functions, addresses: Sequence[int]) -> None:
        self._device = device
        self._functions = functions
        self._addresses = tuple(addresses)

    def write(self, region: int, data: np.ndarray, offset: int = 0) -> None:
        if data.nbytes:
            self._device.use()
            self._device.upload(self._addresses[region] + offset, data)

    def read(self, region: int, data: np.ndarray, offset: int = 0) -> None:
        if data.nbytes:
            self._device.use()
            self._device.download(data, self._addresses[region] + offset)

    def run(self, launches: Sequence[BoundLaunch]) -> None:
        self._device.use()
        for bound in launches:
            pointers = [self._addresses[p.region] + p.offset for p in bound.places]
            function = self._functions[bound.module, bound.launch.function]
            self._device.launch(function, bound.launch.programs, pointers)


@lru_cache(maxsize=1)
def first_device() -> Device:
    """The process's only one: each has a stream of its own."""
    return Device()


def _driver() -> Any:
    """NVIDIA's driver bindings."""
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise _missing("the package cuda-bindings is not installed: pip install 'graphc[gpu]'") from error
    try:
        driver.cuDriverGetVersion()
    except RuntimeError as error:  # the bindings load libcuda at the first call
        raise _missing("there is no NVIDIA driver (libcuda.so)") from error
    return driver


def _missing(what: str) -> UnsupportedError:
    return UnsupportedError(
        "the triton backend runs on an NVIDIA GPU, and there is none to be had",
        got=what,
        hint='backend="llvm" runs on the CPU; the sources can be read and compiled without a GPU',
    )


def _call(answer: tuple[Any, ...], what: str) -> Any:
    """The driver's answer, past its status."""
    status, *values = answer
    if int(status) != 0:
        if status.name in (
            "CUDA_ERROR_NO_DEVICE",
            "CUDA_ERROR_STUB_LIBRARY",
            "CUDA_ERROR_INSUFFICIENT_DRIVER",
        ):
            raise _missing(status.name)
        raise CompileError(f"the CUDA driver could not {what}", got=f"{status.name}: {_explained(status)}")
    return values[0] if values else None


def _explained(status: Any) -> str:
    """The driver's own words for a status."""
    found, text = _driver().cuGetErrorString(status)
    return text.decode() if int(found) == 0 and text else "no more is known"
