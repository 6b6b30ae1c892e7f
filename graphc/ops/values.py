"""Nodes for known values, and the small constructions that gradient rules are written with. Declares no op."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import ops
from ..ir import Literal, Node
from ..scalar import Number
from ..types import DType, TensorType


def array_constant(array: np.ndarray) -> Node:
    """A constant that holds the array (copied if it is writeable)."""
    return ops.constant(value=Literal(np.asarray(array)))


def scalar_constant(value: Number, dtype: DType) -> Node:
    """A constant of shape ()."""
    return array_constant(np.array(value, dtype.numpy))


def full(value: Number, type: TensorType) -> Node:
    """A tensor of that type that is `value` everywhere: a scalar constant, broadcast."""
    return broadcast_to(scalar_constant(value, type.dtype), type.shape)


def full_like(x: Node, value: Number) -> Node:
    return full(value, x.tensor_type)


def zeros_like(x: Node) -> Node:
    return full_like(x, 0)


def zeros_for(x: Node) -> Node:
    """A gradient for x that is zero, of the dtype that gradients are summed in."""
    return full(0, x.tensor_type.with_dtype(x.dtype.computes_as))


def ones_like(x: Node) -> Node:
    return full_like(x, 1)


def scaled(x: Node, factor: float) -> Node:
    """x · factor."""
    return ops.multiply(x, full_like(x, factor))


def masked(mask: Node, x: Node) -> Node:
    """x where the mask holds, 0 elsewhere; what is not finite elsewhere leaves no trace, as a product would."""
    return ops.select(mask, x, zeros_like(x))


def broadcast_to(scalar: Node, shape: tuple[int, ...]) -> Node:
    """A tensor of shape () repeated over `shape`."""
    return ops.broadcast(scalar, shape=shape, dims=()) if shape else scalar


def unreduced(x: Node, shape: tuple[int, ...], axes: Sequence[int]) -> Node:
    """x, which lacks the `axes` of `shape`, repeated along them."""
    if not axes:
        return x
    return ops.broadcast(x, shape=shape, dims=tuple(a for a in range(len(shape)) if a not in axes))


def converted(x: Node, dtype: DType) -> Node:
    """`cast`, but x itself where it has that dtype."""
    return x if x.dtype is dtype else ops.cast(x, dtype=dtype)


def permuted(x: Node, axes: tuple[int, ...]) -> Node:
    """`permute`, but x itself where no axis moves."""
    return x if axes == tuple(range(len(axes))) else ops.permute(x, axes=axes)


def reshaped(x: Node, shape: tuple[int, ...]) -> Node:
    """`reshape`, but x itself where it has that shape."""
    return x if x.shape == shape else ops.reshape(x, shape=shape)
