"""Common subexpressions: graph in, graph out where no two nodes compute the same thing.

Nodes are equal if op, inputs and attrs are; attrs compare exactly (0.0 is not −0.0). Every op is a pure function
of its inputs and attrs; beyond that, only which ops commute is known here.
"""

from __future__ import annotations

from collections.abc import Hashable

from graphc import ops
from graphc.ir import Graph, Node, with_inputs
from graphc.text import attrs_key

# The result has the same bits when the two inputs change places.
COMMUTATIVE = frozenset(
    {
        ops.add,
        ops.multiply,
        ops.maximum,
        ops.minimum,
        ops.equal,
        ops.not_equal,
        ops.logical_and,
        ops.logical_or,
        ops.logical_xor,
        ops.bitwise_and,
        ops.bitwise_or,
        ops.bitwise_xor,
    }
)


class Interner:
    """The nodes seen so far, by what they compute. The first of several equal nodes stands for all."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Node] = {}

    def intern(self, node: Node) -> Node:
        """The known node that computes the same as this one, whose inputs are interned; else this one."""
        return self._known.setdefault(node_key(node), node)


def node_key(node: Node) -> Hashable:
    """Equal for nodes that compute the same. Inputs and variables are told apart by identity, not by name."""
    if node.op in (ops.input, ops.variable):
        return node
    inputs = frozenset(node.inputs) if node.op in COMMUTATIVE else node.inputs
    return (node.op.name, inputs, attrs_key(node.attrs) if node.attrs else ())


def cse(graph: Graph) -> Graph:
    """Compute equal things once.

    %0 = exp(%x)                    %0 = exp(%x)
    %1 = exp(%x)               →    %1 = add(%0, %0)
    %2 = add(%0, %1)
    """
    interner = Interner()
    return graph.rebuild(lambda node, inputs: interner.intern(with_inputs(node, inputs)))


def has_duplicates(graph: Graph) -> bool:
    keys = [node_key(node) for node in graph.nodes]
    return len(set(keys)) < len(keys)
