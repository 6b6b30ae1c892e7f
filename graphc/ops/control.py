"""Ops that steer instead of computing: on closed sub-graphs, on tuples, on the flow of gradients."""

from __future__ import annotations

import numpy as np

from ..errors import CompileError
from ..op import Kind
from ..scalar import Builder, Scalar
from ..types import TensorType, TupleType, Type
from .declare import op, unary
from .rules import ANY


def _item_type(x: Type, index: int) -> TensorType:
    if not isinstance(x, TupleType) or not 0 <= index < len(x.items):
        raise CompileError("item takes one of a tuple's results", got=f"result {index} of {x}")
    return x.items[index]


# One result of an op that has several. The differentiate pass hands its gradient to the tuple.
@op(Kind.ITEM, _item_type)
def item(x: tuple[np.ndarray, ...], index: int) -> np.ndarray:
    return x[index]


# x, through which no gradient flows.
@unary(ANY, lambda x: x)
def stop_gradient(s: Builder, x: Scalar) -> Scalar:
    return x
