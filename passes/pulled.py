"""What a view does, found by pulling symbolic indices through it, whichever op it is.

In: a node of kind VIEW. Out: how its elements lie in its input's memory, row-major as all is.
"""

from __future__ import annotations

from graphc.index import Axis, Index, flatten
from graphc.ir import Node
from graphc.op import Kind, Piece


def _pulled(node: Node) -> tuple[tuple[Index, ...], tuple[Piece, ...]]:
    """An index of the view, with one axis for each of its own, and where its elements come from."""
    assert node.op.pull is not None
    index = tuple(Index.of(Axis(f"d{n}", size)) for n, size in enumerate(node.shape))
    return index, node.op.pull(index, *(i.type for i in node.inputs), **node.attrs)


def first_element(node: Node) -> int | None:
    """For a view of neighbours in input 0, one after the other as there: which of its elements is the first. None for
    all else."""
    if node.op.kind is not Kind.VIEW or not node.tensor_type.size:
        return None
    index, pieces = _pulled(node)
    if len(pieces) != 1 or pieces[0].input or pieces[0].bounds:
        return None
    between = flatten(pieces[0].index, node.inputs[0].shape) - flatten(index, node.shape)
    return None if between.terms else between.constant


def is_copying(node: Node) -> bool:
    """Whether reading a view is more than reading its input: it has several parts, or neighbours lie apart."""
    if node.op.in_order or node.inputs[0].tensor_type.size <= 1:  # mostly so
        return False
    index, pieces = _pulled(node)
    if len(pieces) > 1 or not index or not index[-1].terms:
        return len(pieces) > 1
    ((last, _),) = index[-1].terms
    assert isinstance(last, Axis)
    return abs(flatten(pieces[0].index, node.inputs[pieces[0].input].shape).coefficient(last)) > 1
