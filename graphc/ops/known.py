"""What is known of a value without computing it. Gradient rules ask; nothing else depends on it."""

from __future__ import annotations

from functools import cache

import numpy as np

from .. import ops
from ..ir import Node
from ..op import Kind, Op

_MOST_NODES = 64  # looked at for one question, so that rules stay cheap on deep graphs


def is_never_negative(node: Node) -> bool:
    """Whether a node is ≥ 0 (or NaN) and flat where it is 0, whatever its inputs are, as far as its making tells.

    A sum of squares is: where it is 0 it is at a minimum, so its gradient vanishes. What a function that is infinitely
    steep at 0, like `sqrt`, hands back to it has to be 0 as well, and not inf, which times 0 is NaN.
    """
    flat, preserving = _flat_at_zero(), _preserving()
    pending, seen = [node], {node}
    while pending:
        node = pending.pop()
        if node.op in flat or _is_square(node) or _is_even_power(node):
            continue
        if node.op is ops.constant:
            if not np.all(node.attrs["value"].array >= 0):
                return False
            continue
        if node.op is ops.select or node.op in preserving or node.op.kind is Kind.VIEW:
            inputs = [i for i in node.inputs if i.dtype.is_float]
        elif node.op is ops.power:
            inputs = [node.inputs[0]]
        else:
            return False
        new = [i for i in inputs if i not in seen]
        seen.update(new)
        pending += new
        if len(seen) > _MOST_NODES:
            return False
    return True


@cache
def _flat_at_zero() -> frozenset[Op]:
    """Functions of any number that are never negative."""
    return frozenset((ops.abs, ops.square, ops.exp, ops.exp2, ops.sigmoid, ops.erfc, ops.hypot))


@cache
def _preserving() -> frozenset[Op]:
    """Functions that are never negative, and flat where they are 0, where all their float inputs are."""
    return frozenset(
        (
            ops.add, ops.multiply, ops.divide, ops.maximum, ops.minimum, ops.sum, ops.prod, ops.max, ops.min,
            ops.sqrt, ops.cbrt, ops.cast, ops.gather, ops.pick, ops.stop_gradient,
        )
    )  # fmt: skip


def _is_square(node: Node) -> bool:
    return node.op is ops.multiply and node.inputs[0] is node.inputs[1]


def _is_even_power(node: Node) -> bool:
    if node.op is not ops.power:
        return False
    exponents = known(node.inputs[1])
    return exponents is not None and bool(np.all(exponents % 2 == 0))


def known(node: Node) -> np.ndarray | None:
    """The values that a node has whatever the inputs are: those of a constant, repeated or not, as float or not."""
    if node.op in (ops.broadcast, ops.reshape):
        return known(node.inputs[0])
    if node.op is ops.cast and node.dtype.is_float:
        found = known(node.inputs[0])
        return None if found is None else found.astype(node.dtype.numpy)
    return node.attrs["value"].array if node.op is ops.constant else None
