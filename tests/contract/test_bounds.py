"""Bounds of a contraction's operands: outside them an operand is 0, also where fusion computes it from other values.

The op is a correlation along a line that is padded on both sides, as a convolution is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphc import ops
from graphc.evaluate import evaluate_graph
from graphc.index import Bound, Index
from graphc.ir import Graph, Node
from graphc.op import Contraction, Kind, Op, Piece
from graphc.types import DType, TensorType, float32, int32
from tests.contract.backends import BACKENDS, run_on

Indices = tuple[Index, ...]


def _operands(index: Indices, contracted: Indices, x: TensorType, w: TensorType, low: int) -> tuple[Piece, Piece]:
    (n, at, out), (tap, channel) = index, contracted
    place = at + tap + -low
    return Piece(0, (n, place, channel), (Bound(place, 0, x.shape[1]),)), Piece(1, (tap, channel, out))


def _reference(x: np.ndarray, w: np.ndarray, low: int) -> np.ndarray:
    taps, length = w.shape[0], x.shape[1]
    wide = np.pad(x, ((0, 0), (low, taps - 1 - low), (0, 0)))
    return sum(np.matmul(wide[:, t : t + length], w[t]) for t in range(taps)).astype(x.dtype)


# y[n, i, o] = sum over t, c of x[n, i + t − low, c] · w[t, c, o], with 0 for what lies outside x.
correlate: Op = Op(
    "user_correlate",
    Kind.CONTRACTION,
    infer=lambda x, w, low: x.with_shape((x.shape[0], x.shape[1], w.shape[2])),
    reference=_reference,
    contraction=Contraction(lambda x, w, low: w.shape[:2], _operands),
)


def _pad(x: Node) -> Node:
    """A row of twos before x, and its last one away."""
    length = x.shape[1]
    padded = ops.pad(x, ops.scalar_constant(2, x.dtype), low=(0, 1, 0), high=(0, 0, 0))
    return ops.slice(padded, start=(0, 0, 0), stop=(x.shape[0], length, x.shape[2]), step=(1, 1, 1))


MADE = {
    "plain": lambda x: x,
    "plus 1": lambda x: ops.add(x, ops.ones_like(x)),
    "constant": ops.ones_like,
    "padded": _pad,
    "padded, plus 1": lambda x: _pad(ops.add(x, ops.ones_like(x))),
    "turned": lambda x: ops.permute(ops.add(x, ops.ones_like(x)), axes=(1, 0, 2)),
}


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("sizes", [(2, 2, 3, 2, 1), (1, 40, 5, 16, 33)], ids=["small", "tiles"])
@pytest.mark.parametrize("dtype", [float32, int32], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_operand_is_zero_outside_its_bounds(
    backend: str, dtype: DType, sizes: tuple[int, ...], made: str
) -> None:
    n, length, taps, channels, outputs = sizes
    shape = (length, n, channels) if made == "turned" else (n, length, channels)
    x = ops.input(type=TensorType(dtype, shape), name="x")
    w = ops.input(type=TensorType(dtype, (taps, channels, outputs)), name="w")
    graph = Graph((x, w), (), (), (correlate(MADE[made](x), w, low=taps // 2),))
    rng = np.random.default_rng(0)
    arrays: list[Any] = [rng.integers(-3, 4, i.shape).astype(dtype.numpy) for i in (x, w)]
    (expected,), _ = evaluate_graph(graph, arrays)
    (got,) = run_on(backend, graph, arrays)
    np.testing.assert_array_equal(got, expected)
