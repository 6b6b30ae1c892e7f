"""Ops that steer instead of computing: on closed sub-graphs, on tuples, on the flow of gradients."""

from __future__ import annotations

from ..errors import CompileError
from ..op import Kind, Op
from ..types import TensorType, TupleType, Type
from . import rules
from .rules import ANY, no_gradient


def _item_type(x: Type, index: int) -> TensorType:
    if not isinstance(x, TupleType) or not 0 <= index < len(x.items):
        raise CompileError("item takes one of a tuple's results", got=f"result {index} of {x}")
    return x.items[index]


# One result of an op that has several. The differentiate pass hands its gradient to the tuple.
item: Op = Op("item", Kind.ITEM, infer=_item_type, reference=lambda x, index: x[index])

# x, through which no gradient flows.
stop_gradient: Op = Op(
    "stop_gradient",
    Kind.ELEMENTWISE,
    infer=rules.unary("stop_gradient", ANY),
    reference=lambda x: x,
    vjp=no_gradient,
    scalar=lambda s, x: x,
)
