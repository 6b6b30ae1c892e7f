"""What a gradient needs of a body's forward run: which of its nodes are saved, and which are computed again.

In: nodes of gradients, made of the body's own nodes and of cotangents. Out: the nodes at which forward and backward run
are cut apart. A backward run is a body of its own, for which each saved node is an input.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from .. import ops
from ..ir import Graph, Node, is_tuple, topological_order
from ..op import Kind
from . import rules
from .scores import scores

DEPTH = 3  # steps that may be computed again rather than saved


def flow(body: Graph, sources: Collection[Node]) -> set[Node]:
    """The nodes of a body that gradients for the sources may flow through."""
    reached = set(sources)
    for node in body.nodes:
        smooth = node.op.vjp is not rules.no_gradient
        if smooth and any(i in reached for i in node.inputs) and _has_floats(node):
            reached.add(node)
    return reached


def _has_floats(node: Node) -> bool:
    return is_tuple(node) or node.dtype.is_float


def residuals(
    results: Sequence[Node], cotangents: Collection[Node], at_hand: Collection[Node], invariant: Collection[Node] = ()
) -> list[Node]:
    """The nodes to save, in a stable order, so that the results can be computed of them, the cotangents, and inputs.

    at_hand: inputs that the backward run has anyway. invariant: those of them that are the same in each iteration;
    what depends on nothing else is computed again, outside of the loop. So is what is cheap: views that make nothing
    smaller, and elementwise work on what is saved anyway. So are scores, which would need the most memory of all.
    """
    order = topological_order(results)
    late: set[Node] = set(cotangents)  # what the cotangents decide about
    fixed: set[Node] = set(invariant)
    for node in order:
        if any(i in late for i in node.inputs):
            late.add(node)
        elif node.op is not ops.input and all(i in fixed for i in node.inputs):
            fixed.add(node)
    needed = {i for node in order if node in late for i in node.inputs if i not in late}
    needed |= {r for r in results if r not in late}
    saved, large = [], scores(order)
    for node in reversed(order):
        if node not in needed or node in fixed or node in at_hand:
            continue
        if node in large or _is_cheap(node, lambda i: i in needed or i in fixed or i in at_hand):
            needed.update(node.inputs)
        else:
            saved.append(node)
    return saved[::-1]


def _is_cheap(node: Node, is_there: Callable[[Node], bool]) -> bool:
    """Whether computing a node again is as good as saving it."""
    if len(node.inputs) == 1 and (node.op.kind is Kind.VIEW or node.op is ops.cast):
        return node.inputs[0].tensor_type.nbytes <= node.tensor_type.nbytes
    return _is_made_of(node, is_there, DEPTH)


def _is_made_of(node: Node, is_there: Callable[[Node], bool], depth: int) -> bool:
    """Whether a few steps of elementwise work lead to it from what is there."""
    return node.op.kind is Kind.ELEMENTWISE and all(
        is_there(i) or (depth > 1 and _is_made_of(i, is_there, depth - 1)) for i in node.inputs
    )
