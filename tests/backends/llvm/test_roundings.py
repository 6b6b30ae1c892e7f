"""A value has the same bits wherever it is computed: its roundings are its ops', not those of a kernel around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx


def draw(seed: int, *shape: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for _ in range(3)]


# Exact in NumPy; products added unrounded would leave something.
EXACT: dict[str, Callable[[Any, Any, Any], Any]] = {
    "a difference of squares": lambda x, y, z: x * x - (x + 0 * y) * (x + 0 * y),
    "its root": lambda x, y, z: gx.sqrt(gx.abs(x) * y * y * 0 + x * x - x * (x + y * 0)),
    "a determinant": lambda x, y, z: x * y - y * x,
    "a commutator": lambda x, y, z: (x * y + z) - (z + y * x),
    "a square's spread": lambda x, y, z: gx.square(x) - x * x,
    "a sum and its product": lambda x, y, z: (x * y + z) - (gx.stop_gradient(x * y) + z) + gx.sin(x * y) * 0,
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_differences_of_equal_products_are_zero(name: str, dtype: str) -> None:
    x, y, z = (a.astype(dtype) for a in draw(0, 1000))
    assert (gx.compile(EXACT[name], backend="llvm")(x, y, z).numpy() == 0).all()


EXTREMES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "max of a product": lambda x, w, b: gx.max(x * w) + gx.sum(gx.sin(x * w + b)),
    "max of a line": lambda x, w, b: gx.max(x * w + b) + gx.sum(gx.sin(x * w)),
    "max less another": lambda x, w, b: gx.max(x * w - gx.max(x * w)) + gx.sum(x * w * b),
    "min of a polynomial": lambda x, w, b: gx.min((x * w + b) * x + w) + gx.sum(gx.exp(-(x * w))),
    "max along rows": lambda x, w, b: gx.sum(
        gx.max(gx.reshape(x * w + b, (-1, 3)), axis=0) * gx.cos(x[:3] * w[:3])
    ),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_the_gradient_of_an_extreme_finds_it(name: str) -> None:
    """It goes to the elements that equal the extreme, which a kernel computes again."""
    native, plain = (gx.compile(gx.grad(EXTREMES[name]), backend=b) for b in ("llvm", "reference"))
    for seed in range(30):
        arrays = draw(seed, 39)
        np.testing.assert_allclose(native(*arrays).numpy(), plain(*arrays).numpy(), rtol=1e-4, atol=1e-5)
