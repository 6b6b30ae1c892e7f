"""Cumulative functions as users call them: NumPy's values, the standard's arguments, gradients of two orders."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.errors import AxisError, DTypeError, ShapeError
from graphc.types import float16, float32, int64, uint64
from tests.contract.backends import run_on

compiled = partial(gx.compile, backend="llvm")

FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "cumulative_sum": (gx.cumulative_sum, np.cumulative_sum),
    "cumulative_prod": (gx.cumulative_prod, np.cumulative_prod),
    "cumulative_max": (gx.cumulative_max, np.maximum.accumulate),
    "cumulative_min": (gx.cumulative_min, np.minimum.accumulate),
    "logcumsumexp": (gx.logcumsumexp, np.logaddexp.accumulate),
}
X = np.random.default_rng(0).normal(size=(5, 40))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_numpys_values(name: str, axis: int) -> None:
    ours, numpys = FUNCTIONS[name]
    for f in (ours, compiled(ours)):
        np.testing.assert_allclose(f(X, axis=axis), numpys(X, axis=axis), 1e-12)


def test_the_standards_arguments() -> None:
    small = np.array([[1, 2], [3, 4]], np.int8)
    for f in (gx.cumulative_sum, gx.cumulative_prod):
        assert f(small, axis=0).dtype is int64 and f(small.astype(np.uint8), axis=0).dtype is uint64
        assert f(small, axis=0, dtype="float32").dtype is float32
        assert f(small.astype(np.float16), axis=0).dtype is float16
    assert gx.cumulative_sum(small, axis=1, include_initial=True).numpy().tolist() == [[0, 1, 3], [0, 3, 7]]
    assert gx.cumulative_prod([2.0, 3.0], include_initial=True).numpy().tolist() == [1, 2, 6]
    assert gx.cumulative_sum(np.zeros((3, 0)), axis=1, include_initial=True).shape == (3, 1)
    assert gx.cumulative_max([True, False]).numpy().tolist() == [True, True]
    assert gx.logcumsumexp([0, 0]).dtype is float32


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="needs an axis"):
        gx.cumulative_sum(X)
    with pytest.raises(AxisError):
        gx.cumulative_max(X, axis=2)
    with pytest.raises(ShapeError):
        gx.cumulative_sum(1.0)
    with pytest.raises(DTypeError, match="number dtype"):
        gx.cumulative_sum(X > 0, axis=0, dtype="bool")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_two_orders(name: str) -> None:
    """The second one against differences of the first, whose own are compared elsewhere. Products have zeros."""
    f = FUNCTIONS[name][0]
    x = np.random.default_rng(1).normal(size=12)
    x[[3, 7]] = (0, 0) if name == "cumulative_prod" else x[[3, 7]]

    def slope(x: Any) -> Any:
        return gx.grad(lambda x: gx.sum(gx.sin(f(x))))(x)

    v, step = np.random.default_rng(2).normal(size=12), 1e-6
    (got,) = run_on("llvm", gx.trace(lambda x: gx.grad(lambda x: gx.sum(slope(x) * v))(x), x), [x])
    for k in range(12):
        moved = np.eye(12)[k] * step
        want = ((np.asarray(slope(x + moved)) - np.asarray(slope(x - moved))) * v).sum() / (2 * step)
        np.testing.assert_allclose(got[k], want, 1e-4, 1e-6)


def test_infinite_elements() -> None:
    x = np.array([-np.inf, -np.inf, 1, 2, -np.inf, np.inf, 0], np.float32)
    for f in (gx.logcumsumexp, compiled(gx.logcumsumexp)):
        got = f(x).numpy()
        assert got[:2].tolist() == [-np.inf, -np.inf] and got[5:].tolist() == [np.inf, np.inf]
        np.testing.assert_allclose(got[2:5], [1, np.logaddexp(1, 2), np.logaddexp(1, 2)], 1e-6)
    nan = np.array([1, np.nan, 0], np.float32)
    for f in (gx.cumulative_sum, gx.cumulative_max, gx.cumulative_min):
        assert np.isnan(compiled(f)(nan).numpy()).tolist() == [False, True, True]


def test_errors_do_not_grow_with_the_length() -> None:
    """A running sum of float32 loses three digits over a million elements; sums of blocks do not."""
    x = np.random.default_rng(3).random(1 << 20, np.float32)
    exact = np.cumsum(x, dtype=np.float64)
    got = np.asarray(compiled(gx.cumulative_sum)(x))
    assert (np.abs(got - exact) / exact).max() < 1e-6
    half = np.full(5000, 0.5, np.float16)
    assert compiled(gx.cumulative_sum)(half).numpy()[-1] == 2500   # float16 alone ends at 1024
    columns = np.repeat(x[: 1 << 15, None], 3, 1)
    got = np.asarray(compiled(lambda x: gx.cumulative_sum(x, axis=0))(columns))
    assert (np.abs(got - exact[: 1 << 15, None]) / exact[: 1 << 15, None]).max() < 1e-6


def test_what_is_computed_around_shares_the_kernel() -> None:
    def normalized(x: Any) -> Any:
        y = gx.cumulative_sum(gx.exp(x), axis=1)
        return y / gx.max(y, axis=1, keepdims=True)

    f = compiled(normalized)
    np.testing.assert_allclose(f(X), np.exp(X).cumsum(1) / np.exp(X).cumsum(1).max(1, keepdims=True), 1e-12)
    assert len(f.schedule(X).steps) == 1
    gradient = compiled(lambda x: gx.grad(lambda x: gx.sum(gx.cumulative_sum(x, axis=1) ** 2))(x))
    assert len(gradient.schedule(X).steps) == 2   # one in each direction


def test_the_report_tells_of_rows_that_one_thread_goes_along() -> None:
    f = compiled(lambda x: gx.cumulative_sum(x, axis=-1))
    assert "one thread goes along" in str(f.report(np.ones(1 << 16, np.float32)))
    assert "one thread" not in str(f.report(np.ones((256, 256), np.float32)))
