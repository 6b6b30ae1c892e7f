"""Ops declared outside the package run and differentiate everywhere, since nothing lists ops.

An elementwise one; a reduction whose state is a pair (log-sum-exp: the maximum and a sum relative to it); one whose
state is a triple (variance: count, mean and squared deviations); and one with two results.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from graphc import ops
from graphc.evaluate import evaluate_graph
from graphc.ir import Graph, Node
from graphc.op import Kind, Monoid, Op
from graphc.ops import rules
from graphc.passes.differentiate import differentiate
from graphc.scalar import Builder, Scalar
from graphc.types import DType, TensorType, TupleType, bfloat16, float32, float64
from tests.contract.backends import BACKENDS, run_on
from tests.contract.values import assert_close, ordinary

Pair = tuple[Scalar, Scalar]
Triple = tuple[Scalar, Scalar, Scalar]

softsign: Op = Op(
    "user_softsign",
    Kind.ELEMENTWISE,
    infer=rules.unary("user_softsign", rules.FLOATS),
    reference=lambda x: x / (1 + np.abs(x)),
    vjp=lambda g, y, x: (ops.divide(g, ops.square(ops.add(ops.ones_like(x), ops.abs(x)))),),
    scalar=lambda s, x: x / (1 + s.abs(x)),
)


def _join_relative_sums(s: Builder, a: Pair, b: Pair) -> Pair:
    """Both sums relative to the larger maximum. Equal maxima, also infinite ones, need no rescaling."""
    (m, x), (n, y) = a, b
    top = s.max(m, n)

    def rescaled(total: Scalar, maximum: Scalar) -> Scalar:
        return s.select(s.eq(maximum, top), total, total * s.exp(maximum - top))

    return top, rescaled(x, m) + rescaled(y, n)


def _log_sum_exp(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    wide = x.astype(np.float64)
    top = np.max(wide, axis=axes, keepdims=True)
    return (
        np.log(np.sum(np.exp(wide - top), axis=axes)) + top.reshape(np.sum(wide, axis=axes).shape)
    ).astype(x.dtype)


log_sum_exp: Op = Op(
    "user_log_sum_exp",
    Kind.REDUCTION,
    infer=rules.reduced("user_log_sum_exp", rules.FLOATS),
    reference=_log_sum_exp,
    vjp=lambda g, y, x, axes: (
        ops.multiply(
            ops.unreduced(g, x.shape, axes), ops.exp(ops.subtract(x, ops.unreduced(y, x.shape, axes)))
        ),
    ),
    monoid=Monoid(
        init=lambda dtype: (-math.inf, 0.0),
        lift=lambda s, x, index: (x, s.coerce(1.0, x.dtype)),
        combine=_join_relative_sums,
        finish=lambda s, state: state[0] + s.log(state[1]),
    ),
)


def _join_moments(s: Builder, a: Triple, b: Triple) -> Triple:
    """Chan, Golub and LeVeque's update of count, mean and sum of squared deviations."""
    (n, mean, m2), (k, other, o2) = a, b
    total = n + k
    share = k / s.max(total, 1.0)
    delta = other - mean
    return total, mean + delta * share, m2 + o2 + delta * delta * n * share


def _variance_vjp(g: Node, y: Node, x: Node, axes: tuple[int, ...]) -> tuple[Node]:
    count = math.prod(x.shape[a] for a in axes)
    mean = ops.scaled(ops.sum(x, axes=axes), 1 / count)
    deviation = ops.subtract(x, ops.unreduced(mean, x.shape, axes))
    return (ops.multiply(ops.unreduced(g, x.shape, axes), ops.scaled(deviation, 2 / count)),)


variance: Op = Op(
    "user_variance",
    Kind.REDUCTION,
    infer=rules.reduced("user_variance", rules.FLOATS, of_nothing=False),
    reference=lambda x, axes: np.var(x.astype(np.float64), axis=axes).astype(x.dtype),
    vjp=_variance_vjp,
    monoid=Monoid(
        init=lambda dtype: (0.0, 0.0, 0.0),
        lift=lambda s, x, index: (s.coerce(1.0, x.dtype), x, s.coerce(0.0, x.dtype)),
        combine=_join_moments,
        finish=lambda s, state: state[2] / state[0],
    ),
)

halves: Op = Op(
    "user_halves",
    Kind.CONTROL,
    infer=lambda x: TupleType(
        (x.with_shape((x.shape[0] // 2,)), x.with_shape((x.shape[0] - x.shape[0] // 2,)))
    ),
    reference=lambda x: (x[: len(x) // 2], x[len(x) // 2 :]),
    vjp=lambda g, y, x: (
        ops.concat(
            *(ops.zeros_like(ops.item(y, index=i)) if part is None else part for i, part in enumerate(g)),
            axis=0,
        ),
    ),
)

PLACES = [
    ((6, 5), (0,)),
    ((6, 5), (1,)),
    ((3, 4, 5), (0,)),
    ((3, 4, 5), (0, 1)),
    ((3, 4, 5), (0, 2)),
    ((40, 33), (1,)),
]


def value_and_gradient(op: Op, dtype: DType, shape: tuple[int, ...], **attrs: Any) -> Graph:
    """The op's value, and the gradient of its weighted sum."""
    x = ops.input(type=TensorType(dtype, shape), name="x")
    y = op(x, **attrs)
    weights = ops.array_constant(ordinary(dtype, y.shape, 9))
    return Graph((x,), (), (), (y, *_known(differentiate([y], [x], [weights]))))


def _known(gradients: list[Node | None]) -> list[Node]:
    assert all(g is not None for g in gradients)
    return [g for g in gradients if g is not None]


def check(backend: str, graph: Graph, x: np.ndarray, ulps: float) -> None:
    expected, _ = evaluate_graph(graph, [x])
    for got, want in zip(run_on(backend, graph, [x]), expected, strict=True):
        assert_close(got, want, ulps, backend, scale=1.0)


@pytest.mark.parametrize("dtype", [float32, float64, bfloat16], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_elementwise(backend: str, dtype: DType) -> None:
    check(backend, value_and_gradient(softsign, dtype, (3, 7)), ordinary(dtype, (3, 7)), 4)


@pytest.mark.parametrize("shape, axes", PLACES)
@pytest.mark.parametrize("op", [log_sum_exp, variance], ids=lambda op: op.name)
@pytest.mark.parametrize("backend", BACKENDS)
def test_reduction(backend: str, op: Op, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    check(backend, value_and_gradient(op, float32, shape, axes=axes), ordinary(float32, shape), 16)


@pytest.mark.parametrize("op", [log_sum_exp, variance], ids=lambda op: op.name)
def test_reference_and_gradient_are_right(op: Op) -> None:
    """Against formulas in float64, and differences."""
    x = ordinary(float64, (4, 6))
    graph = value_and_gradient(op, float64, x.shape, axes=(0,))
    (value, gradient), _ = evaluate_graph(graph, [x])
    expected = np.log(np.exp(x).sum(0)) if op is log_sum_exp else x.var(0)
    assert np.allclose(value, expected, rtol=1e-12)
    weights, direction, h = ordinary(float64, (6,), 9), ordinary(float64, x.shape, 4), 1e-6
    ends = [evaluate_graph(graph, [x + sign * direction])[0][0] @ weights for sign in (h, -h)]
    assert np.isclose((ends[0] - ends[1]) / (2 * h), np.sum(gradient * direction), rtol=1e-7)


def test_log_sum_exp_of_infinities_and_large_numbers() -> None:
    x = np.array([[1000.0, 1000.0], [-np.inf, 2.0], [-np.inf, -np.inf], [np.inf, 0.0]], np.float32)
    node = ops.input(type=TensorType(float32, (4, 2)), name="x")
    (got,) = run_on("kernels", Graph((node,), (), (), (log_sum_exp(node, axes=(1,)),)), [x])
    assert np.allclose(got, [1000 + math.log(2), 2, -np.inf, np.inf])


def test_two_results() -> None:
    x = ops.input(type=TensorType(float64, (5,)), name="x")
    both = halves(x)
    first = ops.item(both, index=0)
    second = ops.exp(ops.item(both, index=1))
    (g,) = _known(differentiate([second], [x], [ops.ones_like(second)]))
    outputs = run_on("reference", Graph((x,), (), (), (first, second, g)), [np.arange(5.0)])
    assert outputs[0].tolist() == [0, 1]
    assert np.allclose(outputs[1], np.exp([2, 3, 4]))
    assert np.allclose(outputs[2], [0, 0, *np.exp([2.0, 3.0, 4.0])])
