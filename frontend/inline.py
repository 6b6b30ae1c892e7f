"""A finished graph as part of the trace that is under way: a graph, tensors and Variables in, result tensors out."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir import Graph, with_inputs

from .emit import frame, wrap
from .tensor import Tensor
from .variable import Variable


def inline(graph: Graph, inputs: Sequence[Tensor], variables: Sequence[Variable]) -> list[Tensor]:
    """Its outputs for these inputs, and its updates as assignments. Variables are read as they are at this point of the
    trace; all of the graph's reads come before all of its updates, as in a call."""
    here = frame()
    new = dict(zip(graph.inputs, map(here.node, inputs), strict=True))
    new.update(zip(graph.variables, map(here.read, variables), strict=True))
    for node in graph.nodes:
        if node not in new:
            new[node] = with_inputs(node, [new[i] for i in node.inputs])
    for variable, update in zip(variables, graph.updates, strict=True):
        if update is not None:
            here.assign(variable, new[update])
    return [wrap(new[o]) for o in graph.outputs]
