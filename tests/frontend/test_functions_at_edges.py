"""Array functions made of several ops, value and slope, where elements are equal, none, one, infinite, huge or tiny.

Functions that are one op have their slopes in `tests/contract/test_edges.py`.
"""

import math
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.frontend import reductions
from tests.frontend.edges import BACKENDS, check, f32

INF, NAN = math.inf, math.nan
HALF = math.sqrt(0.5)
Row = tuple[list[float], Any, Any]  # elements, value, slope; None where neither is looked at

TABLE: dict[str, list[Row]] = {
    "sum": [([], 0, []), ([3], 3, [1]), ([INF, 1], INF, [1, 1]), ([3e38, 3e38], INF, [1, 1])],
    "prod": [([], 1, []), ([0, 2, 0], 0, [0, 0, 0]), ([0, 2, 3], 0, [6, 0, 0]), ([INF, 2], INF, [2, INF])],
    "mean": [
        ([7], 7, [1]), ([2, 2, 2, 2], 2, [0.25] * 4), ([INF, 1], INF, [0.5, 0.5]), ([1e-45, -1e-45], 0, [0.5, 0.5]),
    ],
    "max": [
        ([7], 7, [1]), ([2, 2], 2, [0.5, 0.5]), ([INF, INF, 0], INF, [0.5, 0.5, 0]),
        ([-INF, -INF], -INF, [0.5, 0.5]),
    ],
    "min": [([7], 7, [1]), ([2, 2], 2, [0.5, 0.5]), ([INF, INF], INF, [0.5, 0.5]), ([-INF, 0], -INF, [1, 0])],
    "var": [
        ([7], 0, [0]), ([2, 2, 2, 2], 0, [0] * 4), ([0, -0.0], 0, [0, 0]), ([1, 3], 1, [-1, 1]),
        ([1e-45, 0], 0, [1e-45, 0]),
        ([1e19, -1e19], 1e38, [1e19, -1e19]),
    ],
    "std": [
        ([7], 0, [0]), ([2, 2, 2, 2], 0, [0] * 4), ([0, -0.0], 0, [0, 0]), ([1, 3], 1, [-0.5, 0.5]),
        ([1e-45, 0], 0, [0.5, -0.5]), ([2e-25, 0], 1e-25, [0.5, -0.5]),
        ([1e19, -1e19], 1e19, [0.5, -0.5]), ([1e38, -1e38], 1e38, [0.5, -0.5]), ([3e38, 3e38], 3e38 * 0, [0, 0]),
    ],
    "logsumexp": [
        ([7], 7, [1]), ([2, 2], 2 + math.log(2), [0.5, 0.5]), ([INF, 0], INF, [1, 0]), ([INF, INF], INF, [0.5, 0.5]),
        ([-INF, -INF], -INF, [0.5, 0.5]), ([-INF, 1], 1, [0, 1]), ([3e38, -3e38], 3e38, [1, 0]),
        ([-80, 0], 0, [math.exp(-80), 1]),
    ],
    "vector_norm": [
        ([], 0, []), ([0], 0, [0]), ([0, -0.0, 0], 0, [0, 0, 0]), ([3, 4], 5, [0.6, 0.8]), ([-2], 2, [-1]),
        ([INF, 1], INF, None),
        ([1e19, 1e19], math.sqrt(2) * 1e19, [HALF, HALF]), ([2, 2, 2, 2], 4, [0.5] * 4), ([1e-45], 1e-45, [1]),
        ([3e-25, -4e-25], 5e-25, [0.6, -0.8]), ([3e37, 4e37], 5e37, [0.6, 0.8]), ([3e38, 3e38], INF, [HALF, HALF]),
        ([2e38, 1e-30], 2e38, [1, 0.5e-68]),
    ],
}  # fmt: skip
WITHOUT = {"all", "any", "argmax", "argmin", "count_nonzero"}  # of no slope


def test_every_reduction_has_its_rows() -> None:
    assert set(TABLE) - {"vector_norm"} == set(reductions.__all__) - WITHOUT


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TABLE)
def test_reduction(name: str, backend: str) -> None:
    function = getattr(gx, name, None) or getattr(gx.linalg, name)
    for x, value, slope in TABLE[name]:
        with np.errstate(invalid="ignore"):
            check(function, [f32(x)], value, [slope], backend, f"{name} of {x}")
            check(
                lambda x: function(x, axis=1),
                [f32([x, x])],
                [value] * 2,
                [None if slope is None else [slope] * 2],
                backend,
                name,
            )


@pytest.mark.parametrize("backend", BACKENDS)
def test_roots_of_squares(backend: str) -> None:
    """However |x| is written, its slope at 0 is 0, also where it is differentiated twice."""
    ways = [
        lambda x: gx.sqrt(x * x),
        lambda x: gx.sqrt(x**2),
        lambda x: gx.sqrt(gx.square(x)),
        lambda x: gx.square(x) ** 0.5,
        lambda x: gx.pow(gx.abs(x) ** 3, 1 / 3),
        lambda x: gx.sqrt(gx.sum(x * x, axis=-1, keepdims=True)) + 0 * x,
        lambda x: gx.cbrt(gx.abs(x)) * gx.sqrt(gx.abs(x)),
    ]
    for way in ways:
        check(way, [f32([[0], [-0.0]])], [[0], [0]], [[[0], [0]]], backend, "a root of squares")
    with gx.using(backend=backend):
        slope = gx.grad(lambda x: gx.sum(gx.sqrt(gx.square(x))))
        assert gx.grad(lambda x: gx.sum(slope(x)))(f32([0, 2])).tolist() == [0, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_norms_of_zeros_and_of_equal_elements(backend: str) -> None:
    for ord in (0.5, 1, 2, 3, 4, INF):

        def norm(x: gx.Tensor, ord: float = ord) -> gx.Tensor:
            return gx.linalg.vector_norm(x, ord=ord)

        share = 2 ** (1 / ord) / 2 if ord != 1 else 1
        check(norm, [f32([0, -0.0])], 0, [[0, 0]], backend, f"norm {ord} of zeros")
        for size in (2, 1e30, 1e-30):
            value, slope = 2 * share * size, [-share, share]
            check(norm, [f32([-size, size])], value, [slope], backend, f"norm {ord} of equals")
    for row in ([0, 3], [3, 0, 0]):  # of a negative order the smallest decides
        check(lambda x: gx.linalg.vector_norm(x, ord=-2), [f32(row)], 0, [np.zeros(len(row))], backend, "norm -2")
    check(
        gx.linalg.matrix_norm, [f32([[0, 0], [0, 0]])], 0, [[[0, 0], [0, 0]]], backend, "matrix norm of zeros"
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_clip_and_where(backend: str) -> None:
    x = f32([-INF, 0, 0.5, 1, INF, 3e38, 1e-45])
    check(
        lambda x: gx.clip(x, 0, 1), [x], [0, 0, 0.5, 1, 1, 1, 1e-45], [[0, 1, 1, 1, 0, 0, 1]], backend, "clip"
    )
    # Of a branch that is not taken, the value leaves no trace; its slope does where it is no number: 0 · NaN.
    plain = lambda x: gx.where(x > 0, gx.log(x), 0.0)  # noqa: E731
    check(plain, [f32([-1, 2])], [0, math.log(2)], [[0, 0.5]], backend, "where")
    steep = lambda x: gx.where(x > 0, gx.sqrt(x), 0.0)  # noqa: E731
    check(steep, [f32([0, 4])], [0, 2], [[NAN, 0.25]], backend, "where")
    twice = lambda x: gx.where(x > 0, gx.sqrt(gx.where(x > 0, x, 1.0)), 0.0)  # noqa: E731
    check(twice, [f32([0, -1, 4])], [0, 0, 2], [[0, 0, 0.25]], backend, "where in where")
