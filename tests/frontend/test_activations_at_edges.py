"""Every activation at infinity, at huge and tiny numbers and at its kinks, value and slope; and how exact gelu is."""

import inspect
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.frontend.nn import functional
from tests.frontend.edges import BACKENDS, check, f32

INF, NAN = math.inf, math.nan
FLOATS = pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
MANY = pytest.mark.parametrize("backend", BACKENDS)


@dataclass(frozen=True)
class Ends:
    """What a function and its slope are at −inf and at inf, at points of its own, and with which settings."""

    left: tuple[float, float]
    right: tuple[float, float]
    points: dict[float, tuple[float, float]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


SELU = 1.7580993408473766  # scale · alpha
TABLE: dict[str, list[Ends]] = {
    "relu": [Ends((0, 0), (INF, 1), {0: (0, 0), 1e-40: (1e-40, 1)})],
    "relu6": [Ends((0, 0), (6, 0), {0: (0, 0), 6: (6, 0), 3: (3, 1)})],
    "leaky_relu": [
        Ends((-INF, 0.01), (INF, 1), {0: (0, 0.01), 1: (1, 1)}),
        Ends((0, 0), (INF, 1), {0: (0, 0)}, {"negative_slope": 0.0}),
    ],
    "elu": [Ends((-1, 0), (INF, 1), {0: (0, 1), -30: (-1, math.exp(-30))})],
    "selu": [Ends((-SELU, 0), (INF, 1.0507009873554805), {0: (0, SELU)})],
    "gelu": [
        Ends(
            (0, 0),
            (INF, 1),
            {0: (0, 0.5), -5.5: (-1.0444259e-7, -5.733472e-7), -13: (-7.952e-38, -1.03373e-36)},
        ),
        Ends((0, 0), (INF, 1), {0: (0, 0.5), -5: (-2.2917e-7, -1.546362e-6)}, {"approximate": "tanh"}),
    ],
    "silu": [Ends((0, 0), (INF, 1), {0: (0, 0.5), -80: (-80 * math.exp(-80), -79 * math.exp(-80))})],
    "mish": [Ends((0, 0), (INF, 1), {0: (0, 0.6), -80: (-80 * math.exp(-80), -79 * math.exp(-80))})],
    "sigmoid": [Ends((0, 0), (1, 0), {0: (0.5, 0.25), -80: (math.exp(-80), math.exp(-80))})],
    "log_sigmoid": [Ends((-INF, 1), (0, 0), {0: (-math.log(2), 0.5), 80: (-math.exp(-80), math.exp(-80))})],
    "tanh": [Ends((-1, 0), (1, 0), {0: (0, 1), 1e-40: (1e-40, 1)})],
    "softplus": [
        Ends((0, 0), (INF, 1), {0: (math.log(2), 0.5), -80: (math.exp(-80), math.exp(-80))}),
        Ends((0, 0), (INF, 1), {0: (math.log(2) / 4, 0.5), 2e38: (2e38, 1)}, {"beta": 4.0}),
    ],
    "softsign": [
        Ends((-1, 0), (1, 0), {0: (0, 1), -1: (-0.5, 0.25), 1e-40: (1e-40, 1), -0.5: (-1 / 3, 4 / 9)}),
        Ends((-1, 0), (1, 0), {1e8: (1, 1e-16), -1e8: (-1, 1e-16), 1e19: (1, 1e-38)}),
    ],
    "hard_sigmoid": [Ends((0, 0), (1, 0), {-3: (0, 0), 3: (1, 0), 0: (0.5, 1 / 6)})],
    "hard_swish": [Ends((0, 0), (INF, 1), {-3: (0, 0), 3: (3, 1), 0: (0, 0.5)})],
    "hard_tanh": [Ends((-1, 0), (1, 0), {-1: (-1, 0), 1: (1, 0), 0: (0, 1)})],
}
# Not element by element: their rows are below, or in the tests of their own.
OF_ROWS = {"softmax", "log_softmax"}
OTHERS = {"glu", "layer_norm", "dropout", "last_sizes"}


def test_every_activation_has_its_ends() -> None:
    own = inspect.getmembers(
        functional, lambda f: inspect.isfunction(f) and f.__module__ == functional.__name__
    )
    known = [*TABLE, *OF_ROWS, *OTHERS]
    assert set(known) == {name for name, _ in own if not name.startswith("_")} | {"sigmoid", "tanh"}


@MANY
@pytest.mark.parametrize("name", TABLE)
def test_activation(name: str, backend: str) -> None:
    for row in TABLE[name]:
        points = {-INF: row.left, INF: row.right, **row.points, NAN: (NAN, None)}
        x = f32(list(points))
        value, slope = (
            [NAN if v is None else v for v in column] for column in zip(*points.values(), strict=True)
        )

        def function(x: gx.Tensor, row: Ends = row) -> gx.Tensor:
            return getattr(nn, name)(x, **row.settings)

        check(function, [x[:-1]], value[:-1], [slope[:-1]], backend, f"{name} {row.settings}", rtol=1e-4)
        assert np.isnan(gx.compile(function, backend=backend)(x[-1:]).numpy()).all()


@MANY
@FLOATS
def test_huge_numbers_have_the_limits_too(dtype: str, backend: str) -> None:
    """At the largest number of every dtype nothing is NaN, and values and slopes are those at infinity."""
    rows = [(name, row) for name, rows in TABLE.items() for row in rows]

    def everything(x: gx.Tensor) -> list[gx.Tensor]:
        values = [getattr(nn, name)(x, **row.settings) for name, row in rows]
        return [gx.stack([y, gx.gradients(gx.sum(y), x)]) for y in values]

    most = float(gx.finfo(dtype).max)
    found = gx.compile(everything, backend=backend)(gx.asarray([-most, most, -INF, INF], dtype=dtype))
    for (name, row), got in zip(rows, found, strict=True):
        huge, infinite = np.split(got.numpy().astype(np.float64), 2, axis=1)
        limits = np.transpose([row.left, row.right])
        np.testing.assert_allclose(infinite, limits, rtol=1e-2, err_msg=f"{name} {row.settings}")
        finite = np.isfinite(limits)
        np.testing.assert_allclose(huge[finite], limits[finite], rtol=1e-2, atol=1e-30, err_msg=name)
        assert not np.isnan(huge).any()


ROWS: list[tuple[list[float], list[float]]] = [  # and their softmax
    ([-INF, 0, 0], [0, 0.5, 0.5]), ([INF, 0], [1, 0]), ([INF, INF, 3, -INF], [0.5, 0.5, 0, 0]),
    ([-INF] * 4, [0.25] * 4),
    ([3e38, -3e38], [1, 0]), ([5], [1]), ([INF], [1]), ([-INF], [1]), ([2, 2, 2, 2], [0.25] * 4),
    ([0, -0.0], [0.5, 0.5]),
    ([-80, 0], [math.exp(-80), 1]), ([1e-45, 0], [0.5, 0.5]),
]  # fmt: skip


@MANY
@pytest.mark.parametrize(("x", "weights"), ROWS)
def test_softmax_and_its_friends(x: list[float], weights: list[float], backend: str) -> None:
    row, p = f32(x), np.array(weights)
    ramp = np.arange(1, len(x) + 1)
    slope = p * (ramp - (p * ramp).sum())
    check(lambda x: nn.softmax(x) * f32(ramp), [row], p * ramp, [slope], backend, f"softmax of {x}")
    with np.errstate(divide="ignore"):
        logs = np.log(p)
    check(nn.log_softmax, [row], logs, [1 - len(x) * p], backend, f"log_softmax of {x}", rtol=2e-5)
    total = max(x) if math.isinf(max(x)) else None
    check(gx.logsumexp, [row], total, [p], backend, f"logsumexp of {x}")


@MANY
def test_layer_norm_of_huge_and_tiny_rows(backend: str) -> None:
    """A row whose variance is no float is NaN, value and slope; no plausible 0."""

    def norm(x: gx.Tensor) -> gx.Tensor:
        return nn.layer_norm(x, 2)

    check(norm, [f32([1e18, -1e18])], [1, -1], [[0, 0]], backend, "huge")
    check(norm, [f32([1e-30, -1e-30])], [10**0.5 * 1e-28, -(10**0.5) * 1e-28], [None], backend, "tiny", rtol=1e-4)
    check(norm, [f32([5, 5])], [0, 0], [[0, 0]], backend, "equal")
    for row in ([1e20, -1e20], [3e38, 3e38], [INF, 1], [NAN, 1]):
        check(norm, [f32(row)], [NAN, NAN], [[NAN, NAN]], backend, f"layer_norm of {row}")


# Exact gelu: within a few units in the last place wherever its result is a normal number


def gelu_in_float64(x: np.ndarray) -> np.ndarray:
    """x · ½ erfc(−x/√2). The rounding of x/√2 moves float64's erfc by 10⁻¹³ at most."""
    erfc = np.vectorize(math.erfc, otypes=[np.float64])
    return np.asarray(x * 0.5 * erfc(-x / math.sqrt(2)))


@MANY
def test_gelu_is_exact(backend: str) -> None:
    x = np.concatenate(
        [np.linspace(-12.9, 6, 30_000), np.geomspace(1e-37, 1, 500), -np.geomspace(1e-37, 1, 500)]
    )
    x = x.astype(np.float32)
    want = gelu_in_float64(x.astype(np.float64))
    got = gx.compile(nn.gelu, backend=backend)(x).numpy()
    errors = np.abs(got - want) / np.spacing(np.abs(want).astype(np.float32))
    assert errors.max() <= 5.5, (x[np.argmax(errors)], errors.max())
    tail = f32([-13.5, -14, -14.5, -20, -1e30])  # subnormal, and 0
    np.testing.assert_allclose(
        gx.compile(nn.gelu, backend=backend)(tail).numpy(),
        gelu_in_float64(tail.astype(np.float64)),
        atol=2e-44,
    )
