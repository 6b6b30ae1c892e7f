"""A scatter (an op with `push`) as two kernels: copy the base, then add the updates where their indices point.

They add one update after the other to what memory holds, which rounds each time: sums of 16-bit floats are float32
(those of bfloat16 would stay at 256 times their term), and float32 sums of very many updates float64.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphc.index import Gathered, Index, flatten
from graphc.ir import Graph, Node
from graphc.kernel import Kernel
from graphc.ops import converted
from graphc.types import DType, float32, float64, int64

from .build_kernel import PlannedStore, finish_kernel
from .kernel_tracer import Domain, Indices, KernelTracer
from .rewrite import Exactness, Rule, RuleSet, rewrite

MANY = 1 << 10  # float32 sums of on average so many updates an element are float64, whose own cost is small then


def wide_scatters(graph: Graph) -> Graph:
    """The graph with scatters whose sums would lose digits in a wider dtype, rounded once."""
    return rewrite(graph, _WIDE) if any(_sums_as(n) is not None for n in graph.nodes) else graph


def _sums_as(node: Node) -> DType | None:
    """The wider dtype to add in, if there is reason for one."""
    if node.op.push is None:
        return None
    if node.dtype.computes_as is not node.dtype:
        return node.dtype.computes_as
    many = node.inputs[1].tensor_type.size >= MANY * node.tensor_type.size > 0
    return float64 if node.dtype is float32 and many else None


def _widened(node: Node) -> Node | None:
    dtype = _sums_as(node)
    if dtype is None:
        return None
    base, updates = (converted(i, dtype) for i in node.inputs[:2])
    return converted(node.op(base, updates, *node.inputs[2:], **node.attrs), node.dtype)


_WIDE = RuleSet([Rule("wide_scatter", (), _widened, Exactness.ROUNDING, tuple)])


def build_scatter(node: Node, absorbed: Iterable[Node]) -> list[tuple[Kernel, tuple[Node, ...]]]:
    """Kernels, in order, and the node that each slot holds; both store to the slot of `node`."""
    return [_copy_base(node, set(absorbed)), _add_updates(node, set(absorbed))]


def _copy_base(node: Node, absorbed: set[Node]) -> tuple[Kernel, tuple[Node, ...]]:
    tracer = KernelTracer(Domain.over(node.shape), absorbed)
    number = tracer.value(node.inputs[0], tracer.at)
    return finish_kernel(tracer, [PlannedStore(node, flatten(tracer.at, node.shape), number)])


def _add_updates(node: Node, absorbed: set[Node]) -> tuple[Kernel, tuple[Node, ...]]:
    updates = node.inputs[1]
    tracer = KernelTracer(Domain.over(updates.shape), absorbed)
    number = tracer.converted(tracer.value(updates, tracer.at), updates.dtype.computes_as)

    def read(position: int, index: Indices, size: int) -> Index:
        value = tracer.converted(tracer.value(node.inputs[position], index), int64)
        return Index(((Gathered(value, size, tracer.value_axes[value]), 1),))

    assert node.op.push is not None
    place = node.op.push(tracer.at, read, *(i.type for i in node.inputs), **node.attrs)
    return finish_kernel(tracer, [PlannedStore(node, flatten(place, node.shape), number)], scatter=True)
