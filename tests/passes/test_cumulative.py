"""Cumulative ops in kernels: what shares one, what does not and why, and the texts."""

from __future__ import annotations

from collections.abc import Callable

from graphc import ops
from graphc.ir import Graph, Node
from graphc.kernel import Scan
from graphc.passes.differentiate import differentiate
from graphc.passes.fuse import FusedKernel, fuse
from graphc.passes.simplify import simplify
from tests import graphs


def kernels(x: Node, *outputs: Node) -> tuple[FusedKernel, ...]:
    return fuse(Graph((x,), (), (), outputs))


def gradient() -> Graph:
    x = graphs.source((6, 7))
    y = ops.cumulative_prod(x, axis=1)
    (slope,) = differentiate([y], [x], [ops.ones_like(y)])
    assert slope is not None
    return Graph((x,), (), (), (y, slope))


def test_golden_kernels(golden: Callable[[str, str], None]) -> None:
    """A cumulative product, and its gradient from the end of the row."""
    golden("passes/cumulative.txt", "\n\n".join(str(f.kernel) for f in fuse(simplify(gradient()))))


def test_what_is_around_joins() -> None:
    x = graphs.source((6, 7))
    y = ops.cumulative_sum(ops.exp(x), axis=1)
    twice = ops.cumulative_max(ops.square(y), axis=1)
    (one,) = kernels(x, ops.tanh(twice), ops.sum(twice, axes=(1,)))
    assert sum(isinstance(v, Scan) for v in one.kernel.values) == 2 and max(one.kernel.levels) == 1


def test_what_reads_it_reversed_is_stored_reversed() -> None:
    x = graphs.source((6, 7))
    (one,) = kernels(x, ops.flip(ops.cumulative_sum(ops.flip(x, axes=(1,)), axis=1), axes=(1,)))
    assert [s.index.coefficient(one.kernel.row[0]) for s in one.kernel.stores] == [-1]


def test_reasons() -> None:
    x = graphs.source((6, 7))
    y = ops.cumulative_sum(x, axis=1)
    cases = {
        "along other axes than the kernel's row": ops.cumulative_sum(y, axis=0),
        "along the kernel's row in another order": ops.cumulative_sum(ops.flip(y, axes=(1,)), axis=1),
        "not reduced over the row": ops.sum(y, axes=(0,)),
        "goes along a contraction's result": ops.cumulative_sum(graphs.matmul(x, graphs.transposed(x)), axis=1),
    }
    for reason, result in cases.items():
        found = kernels(x, result)
        assert len(found) == 2 and any(reason in r for f in found for r in f.reasons), (reason, found)


def test_axes_keep_their_order() -> None:
    """Rows of several axes are walked as the op means it, whatever lies together in memory."""
    x = graphs.source((5, 3))
    (one,) = kernels(x, ops.cumulative_sum(ops.reshape(graphs.transposed(x), shape=(15,)), axis=0))
    assert [a.size for a in one.kernel.row] == [3, 5]
    (one,) = kernels(x, ops.cumulative_sum(ops.reshape(x, shape=(15,)), axis=0))
    assert [a.size for a in one.kernel.row] == [15]
