"""A scatter (an op with `push`) as two kernels: copy the base, then add the updates where their indices point.

Scatters of 16-bit floats add in float32 and round once: added in place they would be rounded each time, and sums of
bfloat16 would stay at 256 times their term.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphc.index import Gathered, Index, flatten
from graphc.ir import Graph, Node
from graphc.kernel import Kernel
from graphc.ops import converted
from graphc.types import int64

from .build_kernel import PlannedStore, finish_kernel
from .kernel_tracer import Domain, Indices, KernelTracer
from .rewrite import Exactness, Rule, RuleSet, rewrite


def wide_scatters(graph: Graph) -> Graph:
    """The graph with its scatters of 16-bit floats in float32."""
    return rewrite(graph, _WIDE) if any(map(_is_narrow, graph.nodes)) else graph


def _is_narrow(node: Node) -> bool:
    return node.op.push is not None and node.dtype.computes_as is not node.dtype


def _widened(node: Node) -> Node | None:
    if not _is_narrow(node):
        return None
    base, updates = (converted(i, node.dtype.computes_as) for i in node.inputs[:2])
    return converted(node.op(base, updates, *node.inputs[2:], **node.attrs), node.dtype)


_WIDE = RuleSet([Rule("wide_scatter", (), _widened, Exactness.ROUNDING, tuple)])


def build_scatter(node: Node, absorbed: Iterable[Node]) -> list[tuple[Kernel, tuple[Node, ...]]]:
    """Kernels, in order, and the node that each slot holds; both store to the slot of `node`."""
    return [_copy_base(node, set(absorbed)), _add_updates(node, set(absorbed))]


def _copy_base(node: Node, absorbed: set[Node]) -> tuple[Kernel, tuple[Node, ...]]:
    tracer = KernelTracer(Domain.over(node.shape), absorbed)
    number = tracer.value(node.inputs[0], tracer.at)
    return finish_kernel(tracer, [PlannedStore(node, flatten(tracer.at, node.shape), number, ())])


def _add_updates(node: Node, absorbed: set[Node]) -> tuple[Kernel, tuple[Node, ...]]:
    updates = node.inputs[1]
    tracer = KernelTracer(Domain.over(updates.shape), absorbed)
    number = tracer.converted(tracer.value(updates, tracer.at), updates.dtype.computes_as)

    def read(position: int, index: Indices, size: int) -> Index:
        value = tracer.converted(tracer.value(node.inputs[position], index), int64)
        return Index(((Gathered(value, size, tracer.value_axes[value]), 1),))

    assert node.op.push is not None
    place = node.op.push(tracer.at, read, *(i.type for i in node.inputs), **node.attrs)
    return finish_kernel(tracer, [PlannedStore(node, flatten(place, node.shape), number, ())], scatter=True)
