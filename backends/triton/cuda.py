"""Programs on an NVIDIA GPU, through the CUDA driver: no PyTorch, and none of CUDA's run-time libraries.

In: a program. Out: its cubins loaded, memory for it, its launches carried out, all in the order of one stream.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from graphc.dataclass import dataclass
from graphc.devices import Block, note_opened
from graphc.errors import CompileError, UnsupportedError
from graphc.storage import Action

from .compile import Artifact, compile_source
from .control import BoundLaunch
from .program import DeviceProgram

# Beyond its parameters, Triton's compiled functions take two pointers to scratch memory, which ours never use.
COMPILER_POINTERS = 2
DEFAULT_SHARED = 48 * 1024  # bytes a program may take without asking


@dataclass(frozen=True)
class LoadedFunction:
    """A function on the device."""

    handle: Any
    artifact: Artifact


Functions = dict[tuple[int, str], LoadedFunction]


class CudaDevice:
    """The first GPU: its primary context, a stream that all work goes through, and the driver's pool of memory for it.

    Memory is allocated and given back in the stream's order, so that a block may be let go of while launches that use
    it are still waiting, and whoever gets its memory next comes after them. Raises UnsupportedError where there is no
    GPU.
    """

    def __init__(self) -> None:
        driver = _driver()
        self._driver = driver
        _call(driver.cuInit(0), "start the driver")
        if _call(driver.cuDeviceGetCount(), "count devices") == 0:
            raise _missing("the driver knows no device")
        self._device = _call(driver.cuDeviceGet(0), "open the first device")
        self._context = _call(driver.cuDevicePrimaryCtxRetain(self._device), "make a context")
        self._process = os.getpid()
        self.use()
        self._stream = _call(
            driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING), "make a stream"
        )
        self.name = "cuda:0"
        self.code = (2, 0)  # DLPack's kDLCUDA
        self.stream: int | None = int(self._stream)
        self.architecture = self._architecture()
        self._keep_memory()
        note_opened(self)

    def _architecture(self) -> int:
        kinds = self._driver.CUdevice_attribute
        major, minor = (
            _call(self._driver.cuDeviceGetAttribute(kind, self._device), "ask for the compute capability")
            for kind in (
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )  # fmt: skip
        return int(10 * major + minor)

    def _keep_memory(self) -> None:
        """Let the pool keep what is given back; it would return it to the system whenever someone waits."""
        driver = self._driver
        pool = _call(driver.cuDeviceGetDefaultMemPool(self._device), "find the memory pool")
        kind = driver.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        _call(driver.cuMemPoolSetAttribute(pool, kind, driver.cuuint64_t(2**64 - 1)), "keep memory in the pool")

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
        """Make the context the calling thread's own. Raises UnsupportedError in a process that was forked since the
        device was opened: there the driver can do nothing."""
        if os.getpid() != self._process:
            raise UnsupportedError(
                "a GPU can't be used in a process that was forked after it had been opened",
                got=f"process {os.getpid()}, a child of {self._process}",
                hint='start it with multiprocessing.get_context("spawn"), or fork before the GPU is used',
            )
        _call(self._driver.cuCtxSetCurrent(self._context), "use the context")

    def allocate(self, nbytes: int) -> Block:
        """Raises MemoryError where there is no more, also after what nobody holds has been given back."""
        self.use()
        answer = self._driver.cuMemAllocAsync(max(nbytes, 1), self._stream)
        if answer[0].name == "CUDA_ERROR_OUT_OF_MEMORY":
            gc.collect()
            self.synchronize()
            answer = self._driver.cuMemAllocAsync(max(nbytes, 1), self._stream)
        if answer[0].name == "CUDA_ERROR_OUT_OF_MEMORY":
            raise MemoryError(f"{self.name} has no {nbytes} bytes left: let go of tensors, or take fewer rows at once")
        found = _call(answer, f"allocate {nbytes} bytes")
        block = Block(int(found), nbytes)
        weakref.finalize(block, self._free, block.address).atexit = False
        return block

    def _free(self, address: int) -> None:
        if os.getpid() == self._process:  # else the memory is not this process's
            self.use()
            self._driver.cuMemFreeAsync(address, self._stream)  # whose failure would help nobody

    def upload(self, block: Block, array: np.ndarray, offset: int = 0) -> None:
        """The driver has read ordinary memory when it returns.."""
        self.use()
        driver, source = self._driver, array.ctypes.data
        _call(
            driver.cuMemcpyHtoDAsync(block.address + offset, source, array.nbytes, self._stream), "copy to the device"
        )
        kind = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE
        if int(driver.cuPointerGetAttribute(kind, source)[0]) == 0:  # the memory is pinned: it will be read later
            self.synchronize()

    def download(self, block: Block, array: np.ndarray, offset: int = 0) -> None:
        self.use()
        _call(
            self._driver.cuMemcpyDtoHAsync(array.ctypes.data, block.address + offset, array.nbytes, self._stream),
            "copy from the device",
        )
        self.synchronize()

    def copy(self, source: Block, target: Block) -> None:
        self.use()
        _call(
            self._driver.cuMemcpyDtoDAsync(target.address, source.address, source.nbytes, self._stream),
            "copy on the device",
        )

    def synchronize(self) -> None:
        self.use()
        _call(self._driver.cuStreamSynchronize(self._stream), "carry out a program")

    def load(self, program: DeviceProgram) -> CudaCode:
        """Compile a program's modules for this device and load them."""
        self.use()
        functions: Functions = {}
        for number, module in enumerate(program.modules):
            for artifact in compile_source(module.source, self.architecture, module.loose):
                functions[number, artifact.launch.function] = self._load(artifact)
        return CudaCode(self, self._driver, self._stream, functions)

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


class CudaCode:
    """A program's functions on the GPU."""

    def __init__(self, device: CudaDevice, driver: Any, stream: Any, functions: Functions) -> None:
        self._device = device
        self._launch = driver.cuLaunchKernel
        self._stream = stream
        self._functions = functions

    def calls(self, launches: Sequence[BoundLaunch], blocks: Sequence[Block]) -> list[Action]:
        """A call of the driver for each launch, which returns before it has run."""
        self._device.use()
        return [self._call(bound, blocks) for bound in launches]

    def _call(self, bound: BoundLaunch, blocks: Sequence[Block]) -> Action:
        function = self._functions[bound.module, bound.launch.function]
        artifact = function.artifact
        table = parameter_table([blocks[p.region].address + p.offset for p in bound.places])
        return (
            self._launch, function.handle, bound.launch.programs, 1, 1, artifact.threads, 1, 1,
            artifact.resources.shared, self._stream, table, 0,
        )  # fmt: skip

    def check(self, answers: Sequence[object]) -> None:
        for answer in answers:
            _call(answer, "launch a kernel")  # type: ignore[arg-type]


def parameter_table(pointers: Sequence[int]) -> np.ndarray:
    """What the driver takes a kernel's parameters from: where each is, and behind that the parameters themselves, with
    those that the compiler adds."""
    values = (*pointers, *[0] * COMPILER_POINTERS)
    table = np.empty(2 * len(values), np.uint64)
    start = table.ctypes.data + 8 * len(values)
    table[:] = (*range(start, start + 8 * len(values), 8), *values)
    return table


@lru_cache(maxsize=1)
def first_device() -> CudaDevice:
    """The process's only one: each has a stream of its own."""
    return CudaDevice()


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
