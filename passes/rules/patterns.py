"""What rules ask of nodes: predicates and small facts. It changes nothing."""

from __future__ import annotations

import math

import numpy as np

from graphc import ops
from graphc.ir import Literal, Node
from graphc.types import DType, bool_


def constant_of(node: Node) -> np.ndarray | None:
    """A constant's array."""
    if node.op is not ops.constant:
        return None
    literal = node.attrs["value"]
    assert isinstance(literal, Literal)
    return literal.array


FILLS = (ops.broadcast, ops.constant)  # the ops of what `fill_of` may find something in


def fill_of(node: Node) -> Node | None:
    """The scalar constant that the node is everywhere, in the form that `full` makes."""
    scalar = node.inputs[0] if node.op is ops.broadcast else node
    return scalar if scalar.op is ops.constant and scalar.shape == () else None


def value_of(node: Node) -> bool | int | float | None:
    """The number that the node is everywhere."""
    fill = fill_of(node)
    array = None if fill is None else constant_of(fill)
    if array is None:
        return None
    number: bool | int | float = array.item() if array.dtype.kind in "biufe" else float(array)
    return number


def true_like(x: Node) -> Node:
    """True everywhere, in the shape of x."""
    return ops.full(True, x.tensor_type.with_dtype(bool_))


def false_like(x: Node) -> Node:
    return ops.full(False, x.tensor_type.with_dtype(bool_))


def filled(scalar: Node, shape: tuple[int, ...]) -> Node:
    """The scalar everywhere."""
    return ops.broadcast(scalar, shape=shape, dims=()) if shape else scalar


def is_power_of_two(x: float) -> bool:
    """Whether |x| is a power of two, so that a product with it is exact short of overflow."""
    return math.isfinite(x) and x != 0 and math.frexp(abs(x))[0] == 0.5


def normal_range(dtype: DType) -> tuple[float, float]:
    """The least and the greatest normal number, the latter rounded down to a power of two."""
    low, high = {
        "float16": (-14, 15),
        "bfloat16": (-126, 127),
        "float32": (-126, 127),
        "float64": (-1022, 1023),
    }[dtype.name]
    return 2.0**low, 2.0**high


def is_range(axes: tuple[int, ...]) -> bool:
    """Whether the axes are 0, 1, 2, …"""
    return axes == tuple(range(len(axes)))
