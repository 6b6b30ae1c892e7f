"""What a node, or a graph, means on arrays: `op.reference`, plus the rule for 16-bit floats.

In: nodes and NumPy arrays of their inputs' types. Out: arrays of the nodes' types. Knows no op.
The reference backend and constant folding are made of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import CompileError, GraphcError
from .ir import Graph, Node
from .types import TensorType, TupleType


def evaluate(node: Node, inputs: Sequence[Any]) -> Any:
    """The value of one node: an array of its type, or a tuple of them.

    16-bit floats are widened to float32 before an op sees them, and the result is rounded.
    Raises GraphcIndexError, with the node's line, where an index lies outside its axis.
    """
    if node.op.reference is None:
        raise CompileError(f"{node.op.name} has no value of its own").at(node.loc)
    wide = [_widened(x) for x in inputs]
    try:
        with np.errstate(all="ignore"):
            result = node.op.reference(*wide, **node.attrs)
            if isinstance(node.type, TupleType):
                return tuple(_stored(r, t, node) for r, t in zip(result, node.type.items, strict=True))
            return _stored(result, node.type, node)
    except GraphcError as error:
        raise error.at(node.loc) from None


def _widened(x: Any) -> Any:
    if isinstance(x, tuple):
        return x
    narrow_float = x.dtype.itemsize == 2 and x.dtype.kind not in "iu"
    return x.astype(np.float32) if narrow_float else x


def _stored(result: Any, type_: TensorType, node: Node) -> np.ndarray:
    """The result as the type says. Only the rounding to a 16-bit float changes a dtype."""
    array = np.asarray(result)
    dtype = type_.dtype
    if array.shape != type_.shape or array.dtype not in (dtype.numpy, dtype.computes_as.numpy):
        got = f"{array.dtype}{list(array.shape)} for {type_}"
        raise CompileError(
            f"the reference of {node.op.name} does not give the type its rule promises", got=got
        )
    return array.astype(dtype.numpy, copy=False)


def evaluate_graph(
    graph: Graph, inputs: Sequence[np.ndarray], variables: Sequence[np.ndarray] = ()
) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """The outputs, and the new values of the variables that are updated. Nothing given is written to.

    Results may be views of the arguments and of one another. A value is let go after its last use.
    """
    values: dict[Node, Any] = dict(zip(graph.inputs, inputs, strict=True))
    values |= zip(graph.variables, variables, strict=True)
    waiting = {node: len(users) for node, users in graph.users.items()}
    for result in graph.results:
        waiting[result] += 1
    for node in graph.nodes:
        if node not in values:
            values[node] = evaluate(node, [values[i] for i in node.inputs])
        for i in node.inputs:
            waiting[i] -= 1
            if not waiting[i]:
                del values[i]
    updates = [None if u is None else values[u] for u in graph.updates]
    return [values[o] for o in graph.outputs], updates
