"""Reductions over the rows of a product, in the product's own kernel: whether there may be one.

In: a product's group that a node joins. Out: whether that matters to a backend, and what stands against it.
"""

from __future__ import annotations

from graphc.ir import Graph, Node
from graphc.kernel import Accumulate, KernelKind
from graphc.op import Kind

from .build_kernel import build_kernel, find_split, finish_kernel, store_of
from .cut_scores import Refuses
from .groups import Group
from .kernel_tracer import CannotFuse, KernelTracer, describe

POINTWISE = frozenset({Kind.ELEMENTWISE, Kind.REDUCTION, Kind.VIEW})  # whose elements are found row by row
MOST_LOOKED_AT = 64  # nodes behind a product, to see how it is used


def is_news(group: Group, node: Node, tracer: KernelTracer) -> bool:
    """Whether a node that joins a product with reduced rows may matter to a backend: it reduces anew, or the axes are
    no longer those of the product."""
    if node.op.kind is Kind.REDUCTION and tracer.reduced_axes(node)[0] - tracer.row_axes:
        return True
    first = len(tracer.values) if tracer.domain != group.domain else tracer.steps[-1][0]
    split = any(True for v in tracer.values[first:] for i in v.indices for _ in i.divisions())
    return tracer.domain != group.domain or split or any(isinstance(v, Accumulate) for v in tracer.values)


def require_lowering(group: Group, node: Node, tracer: KernelTracer, refuses: Refuses) -> None:
    """Raise CannotFuse where the backend has no lowering for a product with reduced rows that the node has joined."""
    members = (*group.members, node)
    stored = [n for n in members if n is node or n.op.kind in (Kind.REDUCTION, Kind.CONTRACTION)]
    if any(find_split(tracer, v.indices) for v in tracer.values):
        kernel, _ = build_kernel(tracer.domain, members, tracer.members, stored)
    else:
        kernel, _ = finish_kernel(tracer, [store_of(tracer, n) for n in stored])
    if kernel.kind is KernelKind.ATTENTION and (reason := refuses(kernel)):
        raise CannotFuse(f"{describe(node)} reduces a contraction's result, or reads that: {reason}")


def gathers_from(graph: Graph, product: Node) -> Node | None:
    """What gathers from a product, or from what is computed of it in rows: that reads it where it is not computed,
    so it is stored anyway, and kernels that load it do all at once."""
    found, pending = {product}, [product]
    while pending and len(found) < MOST_LOOKED_AT:
        for user in graph.users[pending.pop()]:
            if user.op.kind is Kind.INDEXED and user.inputs[0] in found:
                return user
            if user not in found and user.op.kind in POINTWISE:
                found.add(user)
                pending.append(user)
    return None
