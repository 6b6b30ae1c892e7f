"""Foreign arrays: NumPy, DLPack, Python numbers and lists come in; C-contiguous native NumPy arrays go out."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.brief import brief
from graphc.devices import CPU_CODE
from graphc.errors import DTypeError
from graphc.ops.bits import convert
from graphc.types import DType, as_dtype, bfloat16, float32, int64, type_of


def is_foreign_array(x: object) -> bool:
    """Whether it is an array that is no Tensor: NumPy's arrays and scalars, and whatever exports DLPack."""
    if isinstance(x, np.ndarray | np.generic):
        return True
    return not isinstance(x, type) and (hasattr(x, "__dlpack__") or hasattr(x, "__array__"))


def device_code(x: Any) -> tuple[int, int]:
    """DLPack's number of the device that an array says it is on; the CPU's where it does not say, or can't."""
    ask = None if isinstance(x, np.ndarray) else getattr(x, "__dlpack_device__", None)
    if ask is None:
        return CPU_CODE
    try:
        kind, number = ask()
    except (BufferError, RuntimeError, TypeError, ValueError):  # as for memory that there is none of
        return CPU_CODE
    return CPU_CODE if int(kind) in _HOST_MEMORY else (int(kind), int(number))


_HOST_MEMORY = (1, 3, 11, 13)  # DLPack's kinds: plain, pinned for CUDA or ROCm, managed by CUDA


def native_array(x: Any, dtype: DType | None = None) -> np.ndarray:
    """`x` as a C-contiguous, aligned array in native byte order, without a copy where it is one already.

    Arrays keep their dtype unless `dtype` is given; Python floats become float32 and ints int64.
    Raises DTypeError for what is no array, or has elements that graphc does not know.
    """
    array = _array(x, dtype)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    found = type_of(array).dtype
    if dtype is not None and found is not dtype:
        array = converted(array, dtype)
    if not array.ndim or (array.flags.c_contiguous and array.flags.aligned):
        return array
    return np.require(array, requirements=["C", "A"])


def usable(x: Any) -> np.ndarray | None:
    """The memory of a foreign array, if it can be used as it is: native and aligned, with any strides. Raises as
    `native_array`."""
    array = _array(x, None)
    type_of(array)
    is_plain = array.dtype.isnative and array.flags.aligned
    return array.view(np.ndarray) if is_plain else None


def converted(array: np.ndarray, dtype: DType) -> np.ndarray:
    """The elements in another dtype, as `cast` converts them in a compiled function: floats saturate."""
    if type_of(array).dtype is bfloat16:  # which NumPy does not know as a float
        array = array.astype(float32.numpy)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(convert(array, dtype))  # comparing rank 0 gives NumPy's scalars


def _array(x: Any, dtype: DType | None) -> np.ndarray:
    if isinstance(x, np.ma.MaskedArray):
        raise DTypeError(
            "a masked array would lose its mask: no dtype of graphc's has missing values",
            got=f"a masked {x.dtype} array of shape {x.shape}",
            hint="fill it first, as in x.filled(0), and pass the mask as an array of its own",
        )
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, np.generic):
        return np.asarray(x)
    if isinstance(x, bool | int | float | list | tuple):
        return _from_python(x, dtype)
    if not is_foreign_array(x):
        raise DTypeError(
            "expected an array: a Tensor, a Variable, a NumPy array, a number, or anything with DLPack",
            got=f"{brief(x)} of type {type(x).__qualname__}",
        )
    if hasattr(x, "__dlpack__"):
        from .dlpack import from_host

        return from_host(x)
    return np.asarray(x)


def _from_python(x: Any, dtype: DType | None) -> np.ndarray:
    """A number or nested lists. NumPy would choose float64; our default float is float32, our default int int64."""
    try:
        array = np.asarray(x)
    except (ValueError, OverflowError) as error:
        raise DTypeError("nested lists become an array where all rows are equally long and all numbers fit",
                         got=str(error)) from error  # fmt: skip
    if array.dtype == object and _is_large(x):
        raise DTypeError(f"a Python number must fit {dtype or int64}", got=brief(x))
    if array.dtype == object or array.dtype.kind in "USc":
        raise DTypeError("expected numbers", got=brief(x))
    if dtype is None:
        if _holds_arrays(x) or array.dtype not in (np.float64, np.uint64):
            return array
        dtype = float32 if array.dtype == np.float64 else int64
    return array if array.dtype == dtype.numpy else _checked_cast(array, dtype)


def _is_large(x: Any) -> bool:
    """Whether it is a Python int beyond 64 bits, or nested lists with one: NumPy makes an object of it."""
    return any(map(_is_large, x)) if isinstance(x, list | tuple) else isinstance(x, int) and abs(x) >= 2**63


def _checked_cast(array: np.ndarray, dtype: DType) -> np.ndarray:
    """Python numbers in the dtype asked for; those that don't fit are an error."""
    if dtype.is_integer and array.size and array.dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        if low < dtype.min or high > dtype.max:
            raise DTypeError(f"a Python number must fit {dtype}", got=str(low if low < dtype.min else high))
    result = converted(array, dtype)
    if dtype.is_float:
        beyond = np.isinf(result) & np.isfinite(array)
        if beyond.any():
            raise DTypeError(f"a Python number must fit {dtype}", got=str(array[beyond][0]))
    return result


def _holds_arrays(x: Any) -> bool:
    """Whether nested lists hold NumPy values, which keep their dtype."""
    if isinstance(x, list | tuple):
        return any(_holds_arrays(i) for i in x)
    return isinstance(x, np.ndarray | np.generic)


__all__ = ["as_dtype", "is_foreign_array", "native_array"]
