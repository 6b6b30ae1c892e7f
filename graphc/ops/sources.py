"""Ops without inputs: a graph's inputs and variables, constants, and positions along an axis."""

from __future__ import annotations

import numpy as np

from ..errors import DTypeError, ShapeError
from ..index import Index
from ..ir import Literal
from ..op import Kind
from ..types import TensorType
from .declare import op, source


@source
def input(type: TensorType, name: str) -> TensorType:
    return type


@source
def variable(type: TensorType, name: str) -> TensorType:
    return type


def _constant_type(value: Literal) -> TensorType:
    return value.type


@op(Kind.SOURCE, _constant_type, vjp=lambda g, y, value: ())
def constant(value: Literal) -> np.ndarray:
    return value.array


def _iota_type(type: TensorType, axis: int) -> TensorType:
    if type.dtype.is_bool:
        raise DTypeError("iota needs a number dtype", got=str(type))
    if not 0 <= axis < type.ndim:
        raise ShapeError("iota counts along an axis of its type", got=f"axis {axis} of {type}")
    return type


def _iota_position(index: tuple[Index, ...], type: TensorType, axis: int) -> Index:
    return index[axis]


# An element's position along `axis`, in the dtype of `type` (wrapped where that is too narrow).
@op(Kind.POSITION, _iota_type, vjp=lambda g, y, type, axis: (), position=_iota_position)
def iota(type: TensorType, axis: int) -> np.ndarray:
    along = [1] * type.ndim
    along[axis] = -1
    counts = np.arange(type.shape[axis], dtype=np.int64).astype(type.dtype.numpy, copy=False)
    return np.broadcast_to(counts.reshape(along), type.shape)
