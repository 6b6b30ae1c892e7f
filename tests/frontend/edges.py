"""Values and slopes at edges, on the backends that people train on: what the tables of edges are checked with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphc as gx

BACKENDS = ["reference", "llvm"]


def f32(x: Any) -> np.ndarray:
    return np.asarray(x, np.float32)


def check(
    function: Callable[..., gx.Tensor],
    xs: Sequence[np.ndarray],
    value: Any,
    slopes: Sequence[Any],
    backend: str,
    message: str,
    rtol: float = 1e-5,
) -> None:
    """The function's value, compiled and at once, and the gradients of the sum of its elements; None for what is not
    said."""
    with gx.using(backend=backend):
        compiled = gx.compile(lambda *xs: (function(*xs), _slopes(function, xs)))
        got, gradients = compiled(*xs)
    _agree(got, value, f"{message} on {backend}", rtol)
    _agree(function(*map(gx.asarray, xs)), value, f"{message} at once", rtol)
    for gradient, slope in zip(gradients, slopes, strict=True):
        _agree(gradient, slope, f"slope of {message} on {backend}", rtol)


def _slopes(function: Callable[..., gx.Tensor], xs: Sequence[gx.Tensor]) -> Any:
    return gx.gradients(gx.sum(function(*xs)), list(xs))


def _agree(got: gx.Tensor, want: Any, message: str, rtol: float) -> None:
    if want is not None:
        np.testing.assert_allclose(got.numpy(), f32(want), rtol=rtol, atol=0, err_msg=message)
