"""Kernels that differ only in where they begin to read are one, and compute what they did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.backends.llvm.link.views import with_views
from graphc.schedule import Schedule

RNG = np.random.default_rng(0)
STEPS = 5
W = gx.Variable(RNG.standard_normal((7, 7)).astype(np.float32))
LAYERS = gx.Variable(RNG.standard_normal((STEPS, 7, 7)).astype(np.float32))


def recurrent(x: Any) -> Any:
    h = gx.zeros(x.shape[1:], dtype=x.dtype)
    for t in range(STEPS):
        h = gx.tanh(x[t] @ gx.astype(W, x.dtype) + h)
    return h


def backwards(x: Any) -> Any:
    return recurrent(x[::-1])


def of_a_temporary(x: Any) -> Any:
    return recurrent(nn.softmax(x @ gx.astype(W, x.dtype), axis=-1))


def gradients(x: Any) -> Any:
    return gx.gradients(gx.sum(recurrent(x)), [W])[0]


def two_parts(x: Any) -> Any:
    h = gx.zeros(x.shape[1:], dtype=x.dtype)
    for t in range(STEPS - 1):
        h = gx.tanh((x[t] * x[t + 1]) @ gx.astype(W, x.dtype) + h)
    return h


def padded(x: Any) -> Any:
    h = gx.zeros((4, 7))
    for t in range(STEPS):
        h = gx.tanh(gx.pad(x[t], ((1, 0), (0, 0))) @ W + h)
    return h


def chosen(x: Any) -> Any:
    h = gx.zeros(x.shape[1:])
    for t in range(STEPS):
        h = gx.tanh(gx.take(x[t], gx.asarray([2, 0, 1]), axis=0) @ W + h)
    return h


def of_a_variable(x: Any) -> Any:
    for t in range(STEPS):
        x = gx.tanh(x @ LAYERS[t])
    return x


def once(x: Any) -> Any:
    return gx.tanh(x[1] @ W)


def planned(function: Callable[..., Any], x: np.ndarray) -> tuple[Any, Schedule]:
    compiled = gx.compile(function, backend="llvm")
    return compiled(x), compiled.specialize(x).compilation.schedule


X = RNG.standard_normal((STEPS, 3, 7)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("function", [recurrent, backwards, of_a_temporary, gradients, two_parts])
def test_steps_share_their_kernels(function: Callable[..., Any], dtype: str) -> None:
    x = X.astype(dtype)  # parts of float16 start at multiples of 2 bytes
    result, schedule = planned(function, x)
    viewed = with_views(schedule)
    assert viewed.windows and len(viewed.schedule.work) < len(schedule.work)
    expected = gx.compile(function, backend="reference")(x)
    rtol, atol = (1e-5, 1e-5) if dtype == "float32" else (2e-2, 5e-3)
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("function", [padded, chosen, of_a_variable, once])
def test_what_has_no_windows(function: Callable[..., Any]) -> None:
    x = X[0] if function is of_a_variable else X
    result, schedule = planned(function, x)
    viewed = with_views(schedule)
    assert not viewed.windows and viewed.schedule == schedule
    np.testing.assert_allclose(result, gx.compile(function, backend="reference")(x), rtol=1e-5, atol=1e-5)


def test_kernels_do_not_grow_with_the_steps() -> None:
    def kernels(steps: int) -> int:
        def function(x: Any) -> Any:
            h = gx.zeros((3, 7))
            for t in range(steps):
                h = gx.tanh(x[t] @ W + h)
            return h

        x = np.zeros((steps, 3, 7), np.float32)
        return len(with_views(planned(function, x)[1]).schedule.work)

    assert kernels(12) == kernels(6)
