"""Runs a single kernel's native code on NumPy arrays, without the runtime: its tasks one after the other, each on
ranges of units of its grain, last ones first, so that an order that matters shows."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from graphc.backends.llvm.lower import NativeKernel, lower
from graphc.backends.llvm.native import Context
from graphc.backends.llvm.run import jit
from graphc.backends.llvm.target import Target, host_target
from graphc.kernel import Kernel

FUNCTION = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
)
GUARD = 64  # bytes behind each scratch buffer that must stay as they were


class Compiled:
    """The loaded code of one kernel."""

    def __init__(self, native: NativeKernel, target: Target) -> None:
        self.native = native
        texts = [native.ir, *(part.ir for part in native.shared)] if native.tasks else []
        objects = jit.compile_objects(texts, target, verify=True)
        self.code = jit.load(objects, [t.symbol for t in native.tasks])
        self.functions = [FUNCTION(self.code[t.symbol]) for t in native.tasks]
        self.scratch = [aligned(s.size * s.dtype.itemsize + GUARD) for s in native.scratch]

    def __call__(self, arrays: Sequence[np.ndarray], reverse: bool = True, grain: int = 0) -> int:
        """Run it. Returns the status: 0, or 1 + the number of the task that met a bad index. `grain`: units of a call
        in place of the tasks' own."""
        memory = [*arrays, *self.scratch]
        for s in self.scratch:
            s[:] = 0xA5
        buffers = (ctypes.c_void_p * len(memory))(*(a.ctypes.data for a in memory))
        context = Context()
        for number, (task, function) in enumerate(zip(self.native.tasks, self.functions, strict=True)):
            slots = (ctypes.c_int32 * len(task.slots))(*task.slots)
            step = grain or task.grain
            starts = range(0, task.units, step)
            for low in reversed(starts) if reverse else starts:
                high = min(low + step, task.units)
                function(buffers, slots, low, high, number, ctypes.byref(context))
        for s in self.scratch:
            assert (s[-GUARD:] == 0xA5).all(), "a write behind scratch memory"
        self.bad_index = context.bad_index
        return context.status


def aligned(nbytes: int) -> np.ndarray:
    """Bytes that start at a multiple of 64."""
    memory = np.empty(nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + nbytes]


def compile_kernel(kernel: Kernel, target: Target | None = None) -> Compiled:
    target = target or host_target()
    return Compiled(lower(kernel, target, "kernel"), target)
