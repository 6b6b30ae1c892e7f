"""Inside the interpreting child process: loads sources, calls their functions on NumPy memory.

Imported with TRITON_INTERPRET set and nowhere else. What Triton 3.9's interpreter gets wrong is corrected here, so
that sources need not be written around it.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import triton.language as tl
from triton.runtime import interpreter as triton_interpreter

from .control import BoundLaunch, Region
from .primitives import triton_dtype


class TensorStorage:
    """The memory of an `Array`, as the interpreter wants to see it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def cpu(self) -> TensorStorage:
        return self

    def copy_(self, other: TensorStorage) -> None:
        """Nothing to do: the interpreter works on the memory itself."""

    def size(self) -> int:
        return self.array.nbytes


class Array:
    """A NumPy array that looks enough like a framework's tensor for the interpreter to take its address."""

    def __init__(self, array: np.ndarray, dtype: Any) -> None:
        self.array = array
        self.dtype = dtype

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def untyped_storage(self) -> TensorStorage:
        return TensorStorage(self.array)

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.array.shape

    def stride(self) -> tuple[int, ...]:
        return tuple(s // self.array.itemsize for s in self.array.strides)

    def new_empty(self, size: int, device: object = None) -> Array:
        return Array(self.array[:0], self.dtype)

    def set_(self, storage: TensorStorage, offset: int, size: object, stride: object) -> Array:
        self.array = storage.array
        return self


def run_launches(
    modules: Sequence[str], launches: Sequence[BoundLaunch], regions: Sequence[np.ndarray]
) -> None:
    """Carry out launches in order; regions are arrays of bytes, changed in place."""
    correct_interpreter()
    with np.errstate(all="ignore"):
        for bound in launches:
            function = getattr(load(modules[bound.module]), bound.launch.function)
            function[(bound.launch.programs,)](*(_argument(p, regions) for p in bound.places))


def _argument(place: Region, regions: Sequence[np.ndarray]) -> Array:
    name = "tl.uint8" if place.dtype.is_bool else triton_dtype(place.dtype)
    return Array(regions[place.region][place.offset :], getattr(tl, name.removeprefix("tl.")))


@lru_cache(maxsize=4096)
def load(text: str) -> ModuleType:
    """A source as a module. Triton reads functions back from their file, so there is one."""
    path = Path(_folder()) / f"kernel_{abs(hash(text)):x}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=1)
def _folder() -> str:
    folder = tempfile.TemporaryDirectory(prefix="graphc-triton-")
    _folders.append(folder)
    return folder.name


_folders: list[tempfile.TemporaryDirectory[str]] = []  # kept, so that the files live as long as the process


@lru_cache(maxsize=1)
def correct_interpreter() -> None:
    """Put right, in this process, what Triton's interpreter does otherwise than its compiler."""
    builder = triton_interpreter.InterpreterBuilder
    compute = builder.binary_op
    convert = triton_interpreter._convert_float

    def convert_float(values: np.ndarray, source: Any, target: Any, rounding: object) -> np.ndarray:
        # It truncates to bfloat16, where the compiler rounds, and takes bfloat16's subnormals for 0.
        if source == tl.float32 and target == tl.bfloat16:
            return values.astype(ml_dtypes.bfloat16).view(np.uint16)
        if source == tl.bfloat16 and target == tl.float32:
            return np.ascontiguousarray(values).view(ml_dtypes.bfloat16).astype(np.float32).view(np.uint32)
        result: np.ndarray = convert(values, source, target, rounding)
        return result

    def binary(self: Any, a: Any, b: Any, operation: Any) -> Any:
        # It says that the result of a comparison has its operands' type.
        result = compute(self, a, b, operation)
        if result.data.dtype == np.bool_:
            result.dtype = tl.int1
        return result

    def dot(self: Any, a: Any, b: Any, total: Any, input_precision: object, imprecise: object) -> Any:
        # It multiplies the bit patterns of bfloat16.
        product = np.matmul(_wide(a), _wide(b), dtype=total.data.dtype)
        return triton_interpreter.TensorHandle(product + total.data, total.dtype.scalar)

    def reduce(self: Any, inputs: tuple[Any, ...]) -> list[Any]:
        # It combines elements one by one; halves are as good and a thousand times quicker.
        state = [np.moveaxis(x.handle.data, self.axis, 0) for x in inputs]
        while (length := len(state[0])) > 1:
            half = length // 2
            first, second = [s[:half] for s in state], [s[half : 2 * half] for s in state]
            pairs = [*zip(first, inputs, strict=True), *zip(second, inputs, strict=True)]
            joined = self.combine_fn.fn(*(self.to_tensor(s, x.dtype) for s, x in pairs))
            joined = joined if isinstance(joined, (tuple, tl.tuple)) else (joined,)
            state = [
                np.concatenate([j.handle.data, s[2 * half :]]) for j, s in zip(joined, state, strict=True)
            ]
        kept = [np.moveaxis(s, 0, self.axis) if self.keep_dims else s[0] for s in state]
        return [self.to_tensor(s, x.dtype) for s, x in zip(kept, inputs, strict=True)]

    triton_interpreter._convert_float = convert_float
    builder.binary_op = binary
    builder.create_dot = dot
    triton_interpreter.ReduceOps.generic_reduce = reduce


def _wide(operand: Any) -> np.ndarray:
    """A dot's operand as numbers that NumPy multiplies."""
    data: np.ndarray = operand.data
    return data.view(ml_dtypes.bfloat16).astype(np.float32) if operand.dtype.scalar == tl.bfloat16 else data
