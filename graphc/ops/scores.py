"""Scores: products of matrices with more elements than both, whose exponentials are then summed, as in attention.

In: nodes. Out: which of them are of scores. They are as large as the square of what they are made of, so they are
better computed again than kept: loops' gradients don't save them, and fusion keeps them out of memory where a backend
can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import Node, is_tuple
from ..op import Kind
from .arithmetic import add, difference, multiply, subtract
from .bits import cast
from .transcendental import exp, exp2
from .views import broadcast, permute, reshape


def is_large(node: Node) -> bool:
    """Whether it is a product of matrices with more elements than both of them, and sums something."""
    if node.op.kind is not Kind.CONTRACTION or node.tensor_type.size <= sum([i.tensor_type.size for i in node.inputs]):
        return False
    assert node.op.contraction is not None
    return math.prod(node.op.contraction.sizes(*[i.type for i in node.inputs], **node.attrs)) > 1


def large_products(nodes: Sequence[Node]) -> set[Node]:
    """Those of the nodes that are large; mostly none, which is to cost nothing."""
    return {n for n in nodes if n.op.kind is Kind.CONTRACTION and is_large(n)}


def goes_on(node: Node) -> bool:
    """Whether its elements are those of its inputs, or made of one of each."""
    return node.op.kind is Kind.ELEMENTWISE or node.op is permute or node.op is reshape


def alike(a: Node, b: Node) -> bool:
    """Whether two nodes have as many elements."""
    return not is_tuple(a) and not is_tuple(b) and a.tensor_type.size == b.tensor_type.size


def is_weight(node: Node) -> bool:
    """Whether it is an exponential relative to its rows: exp(x − m), with m spread along an axis of x."""
    if node.op is not exp and node.op is not exp2:
        return False
    (x,) = node.inputs
    while x.op is cast or (x.op is multiply and any(map(_is_scalar, x.inputs))):
        x = x.inputs[0] if x.op is cast or not _is_scalar(x.inputs[0]) else x.inputs[1]
    relative = x.op is difference or x.op is subtract or x.op is add
    return relative and any(i.op is broadcast and 1 < i.inputs[0].tensor_type.size < _size(i) for i in x.inputs)


def _is_scalar(node: Node) -> bool:
    return node.op is broadcast and node.inputs[0].tensor_type.size == 1


def _size(node: Node) -> int:
    return node.tensor_type.size


def scores(nodes: Sequence[Node]) -> set[Node]:
    """Large products, and what of their size is made of them element by element. `nodes`: inputs before their users.
    Without such an exponential in between they are none: a hidden layer is better a product by itself."""
    found = large_products(nodes)
    if not found:
        return found
    weighted: set[int] = set()  # sizes
    for node in nodes:
        if found.isdisjoint(node.inputs) or not goes_on(node):  # mostly so
            continue
        if any(i in found and alike(i, node) for i in node.inputs):
            found.add(node)
            if is_weight(node):
                weighted.add(node.tensor_type.size)
    return {n for n in found if n.tensor_type.size in weighted}
