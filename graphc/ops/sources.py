"""Ops without inputs: a graph's inputs and variables, constants, and positions along an axis."""

from __future__ import annotations

import numpy as np

from ..errors import DTypeError, ShapeError
from ..index import Index
from ..ir import Literal
from ..op import Kind, Op
from ..types import TensorType


def _as_declared(type: TensorType, name: str) -> TensorType:
    return type


input: Op = Op("input", Kind.SOURCE, infer=_as_declared)

variable: Op = Op("variable", Kind.SOURCE, infer=_as_declared)


def _constant_type(value: Literal) -> TensorType:
    return value.type


constant: Op = Op(
    "constant",
    Kind.SOURCE,
    infer=_constant_type,
    reference=lambda value: value.array,
    vjp=lambda g, y, value: (),
)


def _iota_type(type: TensorType, axis: int) -> TensorType:
    if type.dtype.is_bool:
        raise DTypeError("iota needs a number dtype", got=str(type))
    if not 0 <= axis < type.ndim:
        raise ShapeError("iota counts along an axis of its type", got=f"axis {axis} of {type}")
    return type


def _iota(type: TensorType, axis: int) -> np.ndarray:
    along = [1] * type.ndim
    along[axis] = -1
    counts = np.arange(type.shape[axis], dtype=np.int64).astype(type.dtype.numpy, copy=False)
    return np.broadcast_to(counts.reshape(along), type.shape)


def _iota_position(index: tuple[Index, ...], type: TensorType, axis: int) -> Index:
    return index[axis]


# An element's position along `axis`, in the dtype of `type` (wrapped where that is too narrow).
iota: Op = Op(
    "iota",
    Kind.POSITION,
    infer=_iota_type,
    reference=_iota,
    vjp=lambda g, y, type, axis: (),
    position=_iota_position,
)
