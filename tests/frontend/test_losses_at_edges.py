"""Every loss, value and slope, where an answer is certain or a number infinite or huge."""

import inspect
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.frontend.nn import losses
from tests.frontend.edges import BACKENDS, check, f32

INF, HUGE = math.inf, 3e38
TINY = math.exp(-20) * (1 - math.exp(-20) / 2)  # log(1 + e⁻²⁰)


@dataclass(frozen=True)
class Row:
    """A loss of `x` against `y` without a reduction, and its slope with respect to `x`."""

    x: Any
    y: Any
    value: Any
    slope: Any
    options: dict[str, Any] | None = None


TABLE: dict[str, list[Row]] = {
    "cross_entropy": [
        # A class that cannot be costs nothing where nothing says that it is; one that is said to be costs inf.
        Row([-INF, 0, 0], [0.0, 1, 0], math.log(2), [0, -0.5, 0.5]),
        Row([[-INF, 0, 0]] * 2, [1, 0], [math.log(2), INF], None),
        Row([-INF, 0, 0], [0.5, 0.5, 0], INF, None),
        Row([-INF, 0, 0], [0.5, 0.5, 0], math.log(2) / 2, [0, -0.25, 0.25], {"weight": f32([0, 1, 1])}),
        Row([[-INF, 0, 0]], [0], [0], [[0, 0, 0]], {"weight": f32([0, 1, 1])}),
        Row([[-INF, -INF, 5]], [2], [0], [[0, 0, 0]]),
        Row([[HUGE, -HUGE, 0]], [0], [0], [[0, 0, 0]]),
        Row([0, 0, 0], [1.0, 0, 0], math.log(3), [-2 / 3, 1 / 3, 1 / 3]),
        Row([[math.nan, 0, 0], [1, 1, 1]], [-1, 2], [0, math.log(3)], None, {"ignore_index": -1}),
    ],
    "nll_loss": [Row([[-INF, 0, -1]] * 3, [0, 1, 2], [INF, 0, 1], [[-1, 0, 0], [0, -1, 0], [0, 0, -1]])],
    "mse_loss": [Row([INF, 0, -0.0, 1e19, HUGE], [0] * 5, [INF, 0, 0, 1e38, INF], [INF, 0, 0, 2e19, INF])],
    "l1_loss": [Row([INF, -INF, 0, HUGE], [0] * 4, [INF, INF, 0, HUGE], [1, -1, 0, 1])],
    "smooth_l1_loss": [
        Row([INF, -INF, HUGE, 0, 1], [0] * 5, [INF, INF, HUGE, 0, 0.5], [1, -1, 1, 0, 1]),
        Row([INF, HUGE, 0], [0] * 3, [INF, HUGE, 0], [1, 1, 0], {"beta": 0.0}),
    ],
    "huber_loss": [Row([INF, -INF, 1e38, 0], [0] * 4, [INF, INF, 2e38, 0], [2, -2, 2, 0], {"delta": 2.0})],
    "binary_cross_entropy_with_logits": [
        Row([INF, -INF, INF, -INF, INF], [1, 0, 0, 1, 0.5], [0, 0, INF, INF, INF], [0, 0, 1, -1, 0.5]),
        # Nearly certain: neither the cost nor its slope has cancelled.
        Row([20, -20, 20, -20], [1, 0, 0, 1], [TINY, TINY, 20, 20], [-TINY, TINY, 1, -1]),
        Row([0, -0.0, 0, HUGE, -HUGE], [0, 1, 0.3, 1, 0], [math.log(2)] * 3 + [0, 0], [0.5, -0.5, 0.2, 0, 0]),
    ],
    # Logarithms end at −100, and slopes at 10¹².
    "binary_cross_entropy": [Row([0, 1, 0, 1], [0, 1, 1, 0], [0, 0, 100, 100], [0, 0, -1e12, 1e12])],
    "kl_div": [
        Row([-INF, -1, INF, -INF], [0, 0, 0, 0.5], [0, 0, 0, INF], [0, 0, 0, -0.5]),
        Row([-1, 0], [1, 1e-40], [1, -92.1034e-40], [-1, -1e-40]),
    ],
}


def test_every_loss_has_its_rows() -> None:
    own = inspect.getmembers(losses, lambda f: inspect.isfunction(f) and f.__module__ == losses.__name__)
    assert set(TABLE) == {name for name, _ in own if not name.startswith("_")}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TABLE)
def test_loss(name: str, backend: str) -> None:
    loss = getattr(nn, name)
    for row in TABLE[name]:
        y = np.asarray(row.y) if name in ("cross_entropy", "nll_loss") else f32(row.y)
        y = f32(y) if y.dtype == np.float64 else y
        options = {"reduction": "none", **(row.options or {})}

        def cost(x: gx.Tensor, y: Any = y, options: dict[str, Any] = options) -> gx.Tensor:
            return loss(x, y, **options)

        check(cost, [f32(row.x)], row.value, [row.slope], backend, f"{name}: {row}")
