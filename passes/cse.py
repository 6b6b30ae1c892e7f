"""Common subexpressions: graph in, graph out where no two nodes compute the same thing.

Nodes are equal if op, inputs and attrs are; attrs compare exactly (0.0 is not −0.0). Every op is a pure function
of its inputs and attrs; beyond that, only which results of loops and branches are the same is known here.
"""

from __future__ import annotations

from collections.abc import Hashable

from graphc import ops
from graphc.ir import Graph, Node, on_equal_inputs, sub_graphs
from graphc.text import attrs_key


class Interner:
    """The nodes seen so far, by what they compute. The first of several equal nodes stands for all."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Node] = {}

    def intern(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        """The known node that computes the same as this one does of these inputs, which are interned and of the types
        of its own; else such a node, known from now on."""
        key = node_key(node, inputs)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = on_equal_inputs(node, inputs)
        return found


def node_key(node: Node, inputs: tuple[Node, ...]) -> Hashable:
    """Equal for nodes that compute the same of these inputs. Inputs and variables are told apart by identity, not by
    name."""
    op = node.op
    if op is ops.input or op is ops.variable:
        return node
    if op is ops.item:
        return (op, inputs, _first_equal(inputs[0], node.attrs["index"]))
    key = frozenset(inputs) if op.commutes else inputs
    return (op, key, attrs_key(node.attrs)) if node.attrs else (op, key)


def _first_equal(node: Node, index: int) -> int:
    """The first result of a node with several that is the same as this one: made by the same nodes of its bodies."""
    first = index
    if node.op is ops.scan or node.op is ops.while_loop:
        before = node.attrs["carries"] + (node.op is ops.while_loop)  # of what is stacked
        if index >= before:
            made = node.attrs["body"].outputs[node.attrs["carries"] :]
            first = before + made.index(made[index - before])
    elif node.op is ops.switch:
        columns = list(zip(*(body.outputs for body in sub_graphs(node).values()), strict=True))
        first = columns.index(columns[index])
    return first


def cse(graph: Graph) -> Graph:
    """Compute equal things once.

    %0 = exp(%x)                    %0 = exp(%x)
    %1 = exp(%x)               →    %1 = add(%0, %0)
    %2 = add(%0, %1)
    """
    return graph.rebuild(Interner().intern)


def has_duplicates(graph: Graph) -> bool:
    keys = [node_key(node, node.inputs) for node in graph.nodes]
    return len(set(keys)) < len(keys)
