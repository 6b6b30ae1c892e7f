"""Results of branches that are to agree: traced functions in, one structure and equal types out, or an error that names
the leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.errors import DTypeError, ShapeError
from graphc.ir import Node

from .bodies import BodyTrace, Leaf, Leaves, require_structure
from .promotion import Number, common_dtype


def agreed(traces: Sequence[BodyTrace], names: Sequence[str], function: str) -> tuple[Any, list[list[Node]]]:
    """The structure of the results, and the leaves of each branch. Python numbers take the dtype of the other branches.

    Raises ShapeError or DTypeError where branches differ.
    """
    first = traces[0].result
    for trace, name in zip(traces[1:], names[1:], strict=True):
        require_structure(f"{name}, gx.{function} gives", trace.result, f"what it gives {names[0]}", first)
    found = [Leaves.of(trace.result, "the result") for trace in traces]
    leaves = [t.leaves(f, f"what gx.{function} gives") for t, f in zip(traces, found, strict=True)]
    columns = [
        _same(path, column, traces, names, function)
        for path, column in zip(found[0].paths, zip(*leaves, strict=True), strict=True)
    ]
    return first, [list(row) for row in zip(*columns, strict=True)] or [[] for _ in traces]


def _same(
    path: str, leaves: Sequence[Leaf], traces: Sequence[BodyTrace], names: Sequence[str], function: str
) -> list[Node]:
    """One leaf of all branches."""
    nodes = [x for x in leaves if isinstance(x, Node)]
    numbers: list[Number] = [x for x in leaves if not isinstance(x, Node)]
    dtype = nodes[0].dtype if nodes else common_dtype((), numbers)
    made = [
        x if isinstance(x, Node) else trace.number(x, dtype)
        for x, trace in zip(leaves, traces, strict=True)
    ]
    for node, name in zip(made, names, strict=True):
        if node.type != made[0].type:
            where = f", made at {node.loc}" if node.loc and node.inputs else ""
            kind = DTypeError if node.shape == made[0].shape else ShapeError
            raise kind(
                f"all branches of gx.{function} give the same types: {path} is {made[0].type} {names[0]}",
                got=f"{node.type} {name}{where}",
                hint=f"gx.astype(x, gx.{made[0].dtype}) converts"
                if kind is DTypeError
                else "gx.broadcast_to(x, shape) makes shapes equal",
            )
    return made
