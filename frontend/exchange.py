"""Foreign arrays: NumPy, DLPack, Python numbers and lists come in; C-contiguous native NumPy arrays go out."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.types import DType, as_dtype, float32, type_of


def is_foreign_array(x: object) -> bool:
    """Whether it is an array that is no Tensor: NumPy's arrays and scalars, and whatever exports DLPack."""
    return isinstance(x, np.ndarray | np.generic) or hasattr(x, "__dlpack__") or hasattr(x, "__array__")


def native_array(x: Any, dtype: DType | None = None) -> np.ndarray:
    """`x` as a C-contiguous, aligned array in native byte order, without a copy where it is one already.

    Arrays keep their dtype unless `dtype` is given; Python floats become float32 and ints int64.
    Raises DTypeError for what is no array, or has elements that graphc does not know.
    """
    array = _array(x, dtype)
    if dtype is not None and array.dtype != dtype.numpy:
        array = array.astype(dtype.numpy)
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    type_of(array)
    return np.require(array, requirements=["C", "A"]) if array.ndim else array


def _array(x: Any, dtype: DType | None) -> np.ndarray:
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, np.generic):
        return np.asarray(x)
    if isinstance(x, bool | int | float | list | tuple):
        return _from_python(x, dtype)
    if hasattr(x, "__dlpack__"):
        try:
            return np.from_dlpack(x)
        except (BufferError, TypeError, RuntimeError) as error:
            raise DTypeError(
                "an array comes in through DLPack if NumPy can read it",
                got=f"{type(x).__module__}.{type(x).__qualname__}: {error}",
                hint="convert it to a NumPy array in the CPU's memory first",
            ) from error
    if hasattr(x, "__array__"):
        return np.asarray(x)
    raise DTypeError(
        "expected an array: a Tensor, a Variable, a NumPy array, a number, or anything with DLPack",
        got=f"{x!r} of type {type(x).__qualname__}",
    )


def _from_python(x: Any, dtype: DType | None) -> np.ndarray:
    """A number or nested lists. NumPy would choose float64; our default float is float32."""
    try:
        array = np.asarray(x)
        if dtype is not None:
            return array if array.dtype == dtype.numpy else _checked_cast(array, dtype)
    except (ValueError, OverflowError) as error:
        raise DTypeError("nested lists become an array where all rows are equally long and all numbers fit",
                         got=str(error)) from error  # fmt: skip
    if array.dtype == object or array.dtype.kind in "USc":
        raise DTypeError("expected numbers", got=repr(x))
    return array.astype(float32.numpy) if array.dtype == np.float64 and not _holds_arrays(x) else array


def _checked_cast(array: np.ndarray, dtype: DType) -> np.ndarray:
    """Python numbers in the dtype asked for; ints that don't fit are an error."""
    if dtype.is_integer and array.size and array.dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        if low < dtype.min or high > dtype.max:
            raise DTypeError(f"a Python number must fit {dtype}", got=str(low if low < dtype.min else high))
    if array.dtype == object:
        raise DTypeError("expected numbers", got=repr(array))
    return array.astype(dtype.numpy)


def _holds_arrays(x: Any) -> bool:
    """Whether nested lists hold NumPy values, which keep their dtype."""
    if isinstance(x, list | tuple):
        return any(_holds_arrays(i) for i in x)
    return isinstance(x, np.ndarray | np.generic)


__all__ = ["as_dtype", "is_foreign_array", "native_array"]
