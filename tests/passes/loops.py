"""Graphs with loops for the tests of passes: traced functions, and what they compute by the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gx
from graphc import ops
from graphc.evaluate import evaluate_graph
from graphc.ir import Graph, Node, everywhere
from graphc.op import Op
from graphc.verify import verify

F = np.float32
X = np.arange(12, dtype=F).reshape(4, 3) / 7
W = np.arange(9, dtype=F).reshape(3, 3) / 9
H = np.array([1, 2, 3], F)


def all_of(graph: Graph, op: Op) -> list[Node]:
    """The nodes of that op, also those in bodies."""
    return [n for n in everywhere(graph) if n.op is op]


def only(graph: Graph, op: Op = ops.scan) -> Node:
    (node,) = all_of(graph, op)
    return node


def changed(change: Callable[[Graph], Graph], function: Callable[..., Any], *args: Any, rtol: float = 1e-6) -> Graph:
    """The traced graph after a pass, which computes the same, and which the pass does not change again."""
    graph = gx.trace(function, *args)
    after = change(graph)
    verify(after)
    for a, b in zip(evaluate_graph(graph, args)[0], evaluate_graph(after, args)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol)
    assert str(change(after)) == str(after)
    return after
