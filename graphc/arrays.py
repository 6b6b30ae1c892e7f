"""Named arrays as the bytes of a safetensors file, and back: the format that checkpoints of all frameworks come in."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from . import types
from .errors import DTypeError, OptionError, PackageError

_DTYPES = {
    "BOOL": types.bool_,
    **{f"I{d.bits}": d for d in (types.int8, types.int16, types.int32, types.int64)},
    **{f"U{d.bits}": d for d in (types.uint8, types.uint16, types.uint32, types.uint64)},
    **{f"F{d.bits}": d for d in (types.float16, types.float32, types.float64)},
    "BF16": types.bfloat16,
}


METADATA = "__metadata__"  # what the format has under this name is no array


def to_safetensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The contents of a file that holds these arrays. Raises OptionError for the one name that none can have."""
    from safetensors.numpy import save

    if METADATA in arrays:
        raise OptionError(f"safetensors files hold no array of the name {METADATA}", hint="give it another name")
    return save({name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()})


def from_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a file with this contents. Raises PackageError for one that is damaged, DTypeError for elements
    that graphc does not have."""
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(data)
    except SafetensorError as error:
        raise PackageError("the file holds no arrays in safetensors format", got=str(error)) from None
    return {name: _array(name, **described) for name, described in found}


def _array(name: str, dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    if dtype not in _DTYPES:
        raise DTypeError(f"graphc has no such elements as those of {name}", got=dtype)
    return np.frombuffer(data, _DTYPES[dtype].numpy).reshape(shape)
