"""Constant folding: nodes whose inputs are all constants are computed now, by their ops' references.

Also puts constants into one form: one that is the same everywhere is a scalar, broadcast. Knows no op's meaning.
"""

from __future__ import annotations

import numpy as np

from graphc import ops
from graphc.errors import GraphcIndexError
from graphc.evaluate import evaluate
from graphc.ir import Graph, Literal, Node
from graphc.op import Kind

from .rewrite import RuleSet, rewrite, rule, tensor
from .rules.patterns import constant_of

GROWTH = 1 << 20  # bytes by which a result may exceed its inputs
FOLDED_KINDS = frozenset(Kind) - {Kind.SOURCE, Kind.CALL, Kind.CONTROL, Kind.ITEM}


def _numbers() -> Node:
    return ops.array_constant(np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4))


@rule(
    examples=[
        lambda: ops.negative(_numbers()),
        lambda: ops.add(_numbers(), _numbers()),
        lambda: ops.sum(_numbers(), axes=(1,)),
        lambda: ops.permute(_numbers(), axes=(1, 0)),
    ],
    over=[ops.constant],
    kinds=FOLDED_KINDS,
)
def fold_constants(node: Node) -> Node | None:
    """exp(constant) → constant. Not for a broadcast, which is the form that repeated values have."""
    if node.op is ops.broadcast or node.op.reference is None:
        return None
    arrays = [constant_of(i) for i in node.inputs]
    if any(a is None for a in arrays):
        return None
    if node.tensor_type.nbytes > sum(i.tensor_type.nbytes for i in node.inputs) + GROWTH:
        return None
    try:
        return ops.constant(value=Literal(evaluate(node, arrays)))
    except GraphcIndexError:
        return None  # an index out of range is an error of the run, not of the compilation


@rule(ops.constant, examples=[lambda: ops.array_constant(np.full((3, 4), 7, np.int32))])
def uniform_constant(node: Node) -> Node | None:
    """A constant with equal elements → a scalar constant, broadcast."""
    array = node.attrs["value"].array
    if array.ndim == 0 or array.size == 0:
        return None
    bits = array.reshape(-1).view(f"u{array.itemsize}")
    if bits[0] != bits[-1] or np.any(bits[:64] != bits[0]) or np.any(bits != bits[0]):
        return None
    return ops.broadcast(ops.array_constant(array.reshape(-1)[0].reshape(())), shape=array.shape, dims=())


@rule(
    examples=[
        lambda: ops.exp(tensor(0, 3)),
        lambda: ops.concat(tensor(0, 3), tensor(0, 3), axis=0),
        lambda: ops.dot_general(tensor(0, 3), tensor(3, 4), contract=((1,), (0,)), batch=((), ())),
    ],
    kinds=FOLDED_KINDS,
    where=lambda node: 0 in node.shape,
)
def no_elements(node: Node) -> Node | None:
    """A result without elements needs no work."""
    empty = node.op is ops.broadcast and node.inputs[0].op is ops.constant and node.inputs[0].shape == ()
    return None if empty else ops.full(0, node.tensor_type)


RULES = (fold_constants, uniform_constant, no_elements)


def fold(graph: Graph) -> Graph:
    """Compute what depends on constants only.

        %0 = constant() {value = float32[](2.0)} : float32[]        %0 = constant() {value = float32[](4.0)} …
        %1 = multiply(%0, %0) : float32[]                      →

    No result is more than 1 MiB larger than its inputs.
    """
    return rewrite(graph, _rules)


_rules = RuleSet(RULES)
