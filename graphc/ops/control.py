"""Ops on closed sub-graphs and on tuples."""

from __future__ import annotations

from ..errors import CompileError
from ..op import Kind, Op
from ..types import TensorType, TupleType, Type


def _item_type(x: Type, index: int) -> TensorType:
    if not isinstance(x, TupleType) or not 0 <= index < len(x.items):
        raise CompileError("item takes one of a tuple's results", got=f"result {index} of {x}")
    return x.items[index]


# One result of an op that has several. The differentiate pass hands its gradient to the tuple.
item: Op = Op("item", Kind.ITEM, infer=_item_type, reference=lambda x, index: x[index])
