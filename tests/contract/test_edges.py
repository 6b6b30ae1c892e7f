"""Slopes of every op at the edges: ±0, ±inf, the largest and smallest numbers, ties, nothing, one element, all equal.

The convention: a limit where there is one, the subgradient 0 at kinks, halves for ties. Where the value is NaN the
slope is not looked at. Values at the edges are tested with the ops' samples. An op without an entry here fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from graphc import ops
from graphc.evaluate import evaluate_graph
from graphc.ir import Graph, Node
from graphc.op import find_op
from graphc.passes.differentiate import differentiate
from graphc.types import DType, TensorType, float32, float64, type_of
from tests.contract.backends import run_on
from tests.contract.samples import Sample
from tests.contract.smooth import DIFFERENTIABLE, smooth_samples

INF, NAN = math.inf, math.nan
BACKENDS = pytest.mark.parametrize("backend", ["reference", "kernels", "llvm"])
DTYPES = pytest.mark.parametrize("dtype", [float32, float64], ids=str)


@dataclass(frozen=True)
class Slope:
    """The derivative of a function of one number, as a formula in a wider format; `at` puts it right where that is no
    number, and `absolute` says that it is taken from a result that has rounded: errors are in units of eps."""

    formula: Callable[[np.ndarray], Any]
    at: dict[float, float] = field(default_factory=dict)
    absolute: bool = False


UNARY: dict[str, Slope] = {
    "negative": Slope(lambda x: -np.ones_like(x)),
    "square": Slope(lambda x: 2 * x),
    "sqrt": Slope(lambda x: 0.5 / np.sqrt(x)),
    "rsqrt": Slope(lambda x: -0.5 * (1 / np.sqrt(x)) ** 3),
    "cbrt": Slope(lambda x: 1 / (3 * np.cbrt(x) ** 2)),
    "reciprocal": Slope(lambda x: -((1 / x) ** 2)),
    "abs": Slope(np.sign),
    "exp": Slope(np.exp),
    "exp2": Slope(lambda x: np.exp2(x) * np.log(np.longdouble(2))),
    "expm1": Slope(np.exp),
    "log": Slope(lambda x: 1 / x),
    "log2": Slope(lambda x: 1 / np.log(np.longdouble(2)) / x),
    "log10": Slope(lambda x: 1 / np.log(np.longdouble(10)) / x),
    "log1p": Slope(lambda x: 1 / (1 + x)),
    "sigmoid": Slope(lambda x: 1 / (2 * np.cosh(x / 2)) ** 2, absolute=True),
    "sin": Slope(np.cos),
    "cos": Slope(lambda x: -np.sin(x)),
    "tan": Slope(lambda x: 1 + np.tan(x) ** 2),
    "asin": Slope(lambda x: 1 / np.sqrt((1 - x) * (1 + x))),
    "acos": Slope(lambda x: -1 / np.sqrt((1 - x) * (1 + x))),
    "atan": Slope(lambda x: 1 / (1 + x * x)),
    "sinh": Slope(np.cosh),
    "cosh": Slope(np.sinh),
    "tanh": Slope(lambda x: 1 / np.cosh(x) ** 2, absolute=True),
    "asinh": Slope(lambda x: 1 / np.hypot(1, x)),
    "acosh": Slope(lambda x: 1 / np.sqrt((x - 1) * (x + 1))),
    "atanh": Slope(lambda x: 1 / ((1 - x) * (1 + x))),
    "erf": Slope(lambda x: 2 / np.sqrt(np.longdouble(np.pi)) * np.exp(-x * x)),
    "erfc": Slope(lambda x: -2 / np.sqrt(np.longdouble(np.pi)) * np.exp(-x * x)),
    "normal_cdf": Slope(lambda x: np.exp(-x * x / 2) / np.sqrt(2 * np.longdouble(np.pi))),
}


def edges(dtype: DType) -> np.ndarray:
    """Both signs of zero, infinity, the ends of the numbers, and of numbers of every size between."""
    info = np.finfo(dtype.numpy)
    powers = 1.45 * np.exp2(np.arange(info.minexp - info.nmant, info.maxexp), dtype=np.float64)
    sizes = [0, info.smallest_normal, 0.5, 1, 2, 5, 20, 80, info.max, INF, *powers]
    positive = np.array(sizes, dtype.numpy)
    return np.concatenate([positive, -positive, np.array([NAN], dtype.numpy)])


@BACKENDS
@DTYPES
def test_functions_of_one_number(backend: str, dtype: DType) -> None:
    x = edges(dtype)
    node = ops.input(type=type_of(x), name="x")
    results = [find_op(name)(node) for name in UNARY]
    slopes = [slope_of(y, [node])[0] for y in results]
    found = run_on(backend, Graph((node,), (), (), (*results, *slopes)), [x])
    for name, value, got in zip(UNARY, found, found[len(UNARY) :], strict=False):
        with np.errstate(all="ignore"):
            want = np.asarray(UNARY[name].formula(x.astype(np.longdouble))).astype(dtype.numpy)
        for place, limit in UNARY[name].at.items():
            want[x == place] = limit
        known = ~np.isnan(value)
        assert np.isnan(value[-1])
        close(got[known], want[known], x[known], dtype, UNARY[name].absolute, f"{name} on {backend}")


def slope_of(y: Node, wrt: list[Node]) -> list[Node]:
    found = differentiate([y], wrt, [ops.ones_like(y)])
    return [ops.zeros_like(x) if g is None else g for x, g in zip(wrt, found, strict=True)]


def close(got: np.ndarray, want: np.ndarray, x: Any, dtype: DType, absolute: bool, message: str) -> None:
    info = np.finfo(dtype.numpy)
    least = 4 * float(info.eps) if absolute else 4 * float(info.smallest_subnormal)
    a, b = got.astype(np.float64), want.astype(np.float64)
    with np.errstate(all="ignore"):
        # Near infinity a result may round to it.
        bad = ~(
            (a == b)
            | (np.isnan(a) & np.isnan(b))
            | (np.abs(a - b) <= least + 1024 * float(info.eps) * np.abs(b))
        )
        bad |= np.isinf(a) != np.isinf(b)
    assert not bad.any(), f"{message}: {[(x[i], got[i], want[i]) for i in np.flatnonzero(bad)]}"


# Of two numbers: (a, b, slope to a, slope to b); None where there is none, or where the value is NaN

MAX, TINY = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)
HALF = math.sqrt(0.5)
Pair = tuple[float, float, float | None, float | None]

BINARY: dict[str, list[Pair]] = {
    "difference": [(INF, INF, 1, -1), (-INF, -INF, 1, -1), (INF, -INF, 1, -1), (1, 2, 1, -1), (0, -0.0, 1, -1)],
    "multiply": [(0, 1, 1, 0), (MAX, MAX, MAX, MAX), (INF, 2, 2, INF), (TINY, TINY, TINY, TINY), (-0.0, 3, 3, -0.0)],
    "divide": [
        (0, 1, 1, 0), (1, INF, 0, 0), (INF, 2, 0.5, -INF), (1, 0, INF, -INF), (MAX, 2, 0.5, -MAX / 4),
        (0, TINY, INF, 0), (MAX, MAX, 1 / MAX, -1 / MAX),
    ],
    "remainder": [(5, 3, 1, -1), (-5, 3, 1, 2), (3, 3, 1, -1), (1, INF, 1, 0), (0, 2, 1, 0), (TINY, 1, 1, 0)],
    "hypot": [
        (0, 0, 0, 0), (-0.0, 0, 0, 0), (3, 4, 0.6, 0.8), (3, -4, 0.6, -0.8), (TINY, 0, 1, 0),
        (1e-30, 1e-30, HALF, HALF),
        (MAX, MAX, HALF, HALF), (1e30, -1e30, HALF, -HALF), (INF, 1, 1, 0), (-INF, MAX, -1, 0), (2, -INF, 0, -1),
        (INF, INF, HALF, HALF), (INF, NAN, None, None),
    ],
    "copysign": [(2, 3, 1, 0), (2, -3, -1, 0), (INF, -1, -1, 0), (0, -0.0, -1, 0), (-0.0, -0.0, 1, 0), (2, NAN, 1, 0)],
    "maximum": [
        (1, 2, 0, 1), (2, 2, 0.5, 0.5), (0, -0.0, 0.5, 0.5), (INF, INF, 0.5, 0.5), (INF, 1, 1, 0), (-INF, MAX, 0, 1),
        (TINY, 0, 1, 0),
    ],
    "minimum": [
        (1, 2, 1, 0), (2, 2, 0.5, 0.5), (0, -0.0, 0.5, 0.5), (-INF, -INF, 0.5, 0.5), (INF, 1, 0, 1), (TINY, 0, 0, 1),
    ],
    "logaddexp": [
        (INF, INF, 0.5, 0.5), (-INF, -INF, 0.5, 0.5), (INF, -INF, 1, 0), (-INF, 3, 0, 1), (INF, 3, 1, 0),
        (2, 2, 0.5, 0.5),
        (MAX, -MAX, 1, 0), (0, -80, 1, math.exp(-80)),
    ],
    "atan2": [
        (0, 0, 0, 0), (-0.0, 0, 0, 0), (0, 2, 0.5, 0), (2, 0, 0, -0.5), (1e-30, 1e-30, 5e29, -5e29), (0, -2, -0.5, 0),
        (1e30, 1e30, 5e-31, -5e-31), (INF, 1, 0, 0), (1, INF, 0, 0), (INF, -INF, 0, 0), (TINY, 0, 0, -INF),
    ],
    "power": [
        (0, 2, 0, 0), (0, 1, 1, 0), (0, 0, 0, 0), (-0.0, 2, 0, 0), (2, 0, 0, math.log(2)), (0, 0.5, INF, 0),
        (0, -1, -INF, -INF), (INF, 2, INF, INF), (INF, -1, 0, 0), (INF, 0, 0, INF), (-2, 2, -4, None),
        (-3, 3, 27, None),
        (INF, 1, 1, INF), (2, INF, INF, INF), (0.5, INF, 0, 0), (2, -INF, 0, 0), (1, INF, None, None),
        (NAN, 0, 0, None),
        (4, 0.5, 0.25, 2 * math.log(4)), (-INF, 2, -INF, None),
    ],
}  # fmt: skip


@BACKENDS
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_numbers(backend: str, name: str) -> None:
    a, b, left, right = (
        np.array([NAN if x is None else x for x in column], np.float32)
        for column in zip(*BINARY[name], strict=True)
    )
    sample = Sample(find_op(name), (a, b))
    graph = sample.graph()
    (y,) = graph.outputs
    slopes = slope_of(y, list(graph.inputs))
    got = run_on(backend, Graph(graph.inputs, (), (), tuple(slopes)), [a, b])
    for number, (slope, want) in enumerate(zip(got, (left, right), strict=True)):
        known = ~np.isnan(want)
        places = list(zip(a[known], b[known], strict=True))
        close(slope[known], want[known], places, float32, False, f"{name}, input {number}, on {backend}")


# Reductions: a row, and its slope

REDUCTIONS: dict[str, list[tuple[list[float], list[float]]]] = {
    "prod": [
        ([], []), ([0], [1]), ([2, 3, 5], [15, 10, 6]), ([0, 3, 5], [15, 0, 0]), ([0, 0, 5], [0, 0, 0]),
        ([INF, 2], [2, INF]),
        ([2, 2, 2, 2], [8, 8, 8, 8]), ([MAX, TINY, 1], [TINY, MAX, MAX * TINY]),
    ],
    "max": [
        ([7], [1]), ([1, 3, 2], [0, 1, 0]), ([2, 2, 1], [0.5, 0.5, 0]), ([4, 4, 4, 4], [0.25] * 4),
        ([-INF, -INF], [0.5, 0.5]),
        ([INF, 1, INF], [0.5, 0, 0.5]), ([0, -0.0], [0.5, 0.5]), ([TINY, 0, -TINY], [1, 0, 0]), ([1, NAN], [0, 0]),
        ([MAX, -MAX], [1, 0]),
    ],
    "min": [
        ([7], [1]), ([1, 3, 2], [1, 0, 0]), ([1, 1, 2], [0.5, 0.5, 0]), ([4, 4, 4, 4], [0.25] * 4),
        ([INF, INF], [0.5, 0.5]),
        ([-INF, 1], [1, 0]), ([0, -0.0], [0.5, 0.5]), ([NAN, 1], [0, 0]),
    ],
}  # fmt: skip


@BACKENDS
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(backend: str, name: str) -> None:
    rows = [np.array(row, np.float32) for row, _ in REDUCTIONS[name]]
    inputs = [ops.input(type=type_of(row), name=f"x{i}") for i, row in enumerate(rows)]
    slopes = [slope_of(find_op(name)(x, axes=(0,)), [x])[0] for x in inputs]
    found = run_on(backend, Graph(tuple(inputs), (), (), tuple(slopes)), rows)
    for (row, want), got in zip(REDUCTIONS[name], found, strict=True):
        close(got, np.array(want, np.float32), row, float32, False, f"{name} of {row} on {backend}")


# Cumulative functions: a row, and the slope of the sum of all results

CUMULATIVE: dict[str, list[tuple[list[float], list[float]]]] = {
    "cumulative_prod": [
        ([], []), ([0], [1]), ([2, 3], [4, 2]), ([2, 0, 5], [1, 12, 0]), ([0, 3, 5], [19, 0, 0]),
        ([0, 0, 5], [1, 0, 0]),
        ([1, INF], [INF, 1]), ([MAX, 0, MAX], [1, INF, 0]),
    ],
    "cumulative_max": [
        ([], []), ([7], [1]), ([1, 3, 2], [1, 2, 0]), ([2, 2, 1], [1, 2, 0]), ([3, 2, 1], [3, 0, 0]),
        ([-INF, -INF, 0], [1, 1, 1]), ([INF, 1, INF], [2, 0, 1]), ([0, -0.0], [1, 1]), ([TINY, 0, -TINY], [3, 0, 0]),
    ],
    "cumulative_min": [
        ([], []), ([7], [1]), ([1, 3, 2], [3, 0, 0]), ([1, 1, 2], [1, 2, 0]), ([INF, INF, -INF], [1, 1, 1]),
        ([0, -0.0], [1, 1]),
    ],
    "logcumsumexp": [
        ([], []), ([7], [1]), ([2, 2], [1.5, 0.5]), ([-INF, 3], [1, 1]), ([-INF, -INF, 3], [1.5, 0.5, 1]),
        ([3, -INF], [2, 0]), ([INF, 3, INF], [2.5, 0, 0.5]), ([1, INF], [1, 1]), ([MAX, -MAX], [2, 0]),
        ([0, -80], [2, 0]), ([MAX, MAX], [1.5, 0.5]),
        ([-MAX, MAX], [1, 1]),
    ],
}  # fmt: skip


@BACKENDS
@pytest.mark.parametrize("name", CUMULATIVE)
def test_cumulative_functions(backend: str, name: str) -> None:
    rows = [np.array(row, np.float32) for row, _ in CUMULATIVE[name]]
    inputs = [ops.input(type=type_of(row), name=f"x{i}") for i, row in enumerate(rows)]
    slopes = [slope_of(find_op(name)(x, axis=0), [x])[0] for x in inputs]
    found = run_on(backend, Graph(tuple(inputs), (), (), tuple(slopes)), rows)
    for (row, want), got in zip(CUMULATIVE[name], found, strict=True):
        close(got, np.array(want, np.float32), row, float32, True, f"{name} of {row} on {backend}")


# Of several numbers, but linear: the slope does not depend on them, so it is right whatever they are

LINEAR = [
    "add", "subtract", "sum", "cast", "reshape", "permute", "broadcast", "slice", "flip", "pad", "concat", "gather",
    "scatter_add", "pick", "delay", "cumulative_sum",
]  # fmt: skip
ELSEWHERE = {"dot_general", "select", "linear_recurrence"}  # below
SOURCES = {"constant", "iota"}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_ops(name: str) -> None:
    for sample in smooth_samples(name):
        graph = sample.graph()
        (y,) = graph.outputs
        floats = [x for x in graph.inputs if x.dtype.is_float]
        if not y.dtype.is_float:
            continue
        numbers = [np.full_like(a, NAN) if a.dtype.kind == "f" else a for a in sample.arrays]
        for slope in slope_of(y, floats):
            (anywhere,) = run_on("reference", Graph(graph.inputs, (), (), (slope,)), numbers)
            (usual,) = run_on("reference", Graph(graph.inputs, (), (), (slope,)), sample.arrays)
            np.testing.assert_array_equal(anywhere, usual, err_msg=str(sample))


@BACKENDS
def test_products_and_choices(backend: str) -> None:
    """A product's slope is the other factor; what is not chosen gets 0."""
    a, b = np.array([[INF, 0, 1]], np.float32), np.array([[2], [MAX], [-0.0]], np.float32)
    mask = np.array([[True, False, True]])
    x, y, m = (ops.input(type=type_of(v), name=n) for v, n in ((a, "a"), (b, "b"), (mask, "m")))
    product = ops.dot_general(x, y, contract=((1,), (0,)), batch=((), ()))
    choice = ops.select(m, x, ops.reshape(y, shape=(1, 3)))
    slopes = (*slope_of(product, [x, y]), *slope_of(choice, [x, y]))
    found = run_on(backend, Graph((x, y, m), (), (), slopes), [a, b, mask])
    wanted = [b.T, a.T, [[1, 0, 1]], [[0], [1], [0]]]
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want)


@BACKENDS
def test_recurrences(backend: str) -> None:
    """Of y[k] = a[k] · y[k − 1] + b[k]: the factor of nothing has no slope, and does no harm if it is infinite."""
    a, b = np.array([INF, 2, 4, 3], np.float32), np.array([0, 0, 5, 1], np.float32)
    x, y = (ops.input(type=type_of(v), name=n) for v, n in ((a, "a"), (b, "b")))
    result = ops.linear_recurrence(x, y, axis=0)
    value, da, db = run_on(backend, Graph((x, y), (), (), (result, *slope_of(result, [x, y]))), [a, b])
    assert value.tolist() == [0, 0, 5, 16]
    assert da.tolist() == [0, 0, 0, 5] and db.tolist() == [35, 17, 4, 1]


def test_every_op_has_its_edges() -> None:
    known = [*UNARY, *BINARY, *REDUCTIONS, *CUMULATIVE, *LINEAR, *ELSEWHERE, *SOURCES]
    assert set(DIFFERENTIABLE) <= set(known) and len(set(known)) == len(known)


# What is never negative is flat where it is 0


def _root_of(make: Callable[[Node], Node], x: np.ndarray, root: Callable[[Node], Node]) -> np.ndarray:
    node = ops.input(type=type_of(x), name="x")
    (slope,) = slope_of(root(make(node)), [node])
    outputs, _ = evaluate_graph(Graph((node,), (), (), (slope,)), [x])
    return outputs[0]


FLAT: list[Callable[[Node], Node]] = [
    ops.square,
    ops.abs,
    lambda x: ops.multiply(x, x),
    lambda x: ops.power(x, ops.full_like(x, 2)),
    lambda x: ops.power(ops.abs(x), ops.full_like(x, 3)),
    lambda x: ops.add(ops.square(x), ops.zeros_like(x)),
    lambda x: ops.divide(ops.multiply(ops.full_like(x, 3), ops.square(x)), ops.full_like(x, 2)),
    lambda x: ops.unreduced(ops.sum(ops.square(x), axes=(0,)), x.shape, (0,)),
    lambda x: ops.maximum(ops.square(x), ops.zeros_like(x)),
    lambda x: ops.flip(ops.sqrt(ops.square(x)), axes=(0,)),
]
ROOTS: list[Callable[[Node], Node]] = [
    ops.sqrt,
    ops.cbrt,
    lambda x: ops.power(x, ops.full_like(x, 0.5)),
    lambda x: ops.power(x, ops.full_like(x, 1 / 3)),
]


@pytest.mark.parametrize("make", FLAT)
def test_roots_of_what_is_never_negative(make: Callable[[Node], Node]) -> None:
    for root in ROOTS:
        assert _root_of(make, np.zeros(2, np.float32), root).tolist() == [0, 0]
        assert np.isfinite(_root_of(make, np.array([0.5, -2], np.float32), root)).all()


STEEP: list[Callable[[Node], Node]] = [
    lambda x: x,
    lambda x: ops.add(x, ops.zeros_like(x)),
    lambda x: ops.sqrt(x),
]


@pytest.mark.parametrize("make", STEEP)
def test_roots_of_other_numbers(make: Callable[[Node], Node]) -> None:
    for root in ROOTS:
        assert _root_of(make, np.zeros(1, np.float32), root).tolist() == [INF]


def test_questions_about_deep_graphs_are_short() -> None:
    x = ops.square(ops.input(type=TensorType(float32, ()), name="x"))
    for _ in range(10_000):
        x = ops.add(x, ops.square(x))
    (slope,) = slope_of(ops.sqrt(x), [x])
    assert slope.op is ops.divide
