"""Dead code: graph in, graph out without work that no result needs.

A graph reaches its nodes from its results, so a node that nothing needs is gone by construction. What is left is
state: an update that stores what the variable holds already.
"""

from __future__ import annotations

from graphc.ir import Graph


def dce(graph: Graph) -> Graph:
    """Drop updates that change nothing. Inputs and variables stay: callers count on their positions.

    update @w = @w             →    (nothing)
    """
    if not has_dead_code(graph):
        return graph
    updates = (None if u is v else u for v, u in zip(graph.variables, graph.updates, strict=True))
    return Graph(graph.inputs, graph.variables, tuple(updates), graph.outputs)


def has_dead_code(graph: Graph) -> bool:
    return any(u is v for v, u in zip(graph.variables, graph.updates, strict=True))
