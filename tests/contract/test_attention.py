"""Attention as backends run it: their own choice of kernels, at a size at which no scores are stored, against the
reference; and rows that are masked throughout keep their meaning."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from tests.passes.attention_programs import causal, windowed

ROWS = (1, 8, 300, 24)   # scores of 2.9 MB
FUNCTIONS: dict[str, Any] = {
    "function": lambda q, k, v: nn.scaled_dot_product_attention(q, k, v, is_causal=True),
    "written out": causal,
    "window": windowed,
}


def _arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s, np.float32) for s in shapes]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_llvm_holds_no_scores(name: str) -> None:
    function, args = FUNCTIONS[name], _arrays(*[ROWS] * 4)

    def both(q: Any, k: Any, v: Any, weights: Any) -> Any:
        def loss(*x: Any) -> Any:
            return gx.sum(function(*x) * weights)

        return function(q, k, v), gx.grad(loss, argnums=(0, 1, 2))(q, k, v)

    compiled, expected = gx.compile(both, backend="llvm"), gx.compile(both, backend="reference")(*args)
    (o, gradients), (wanted, slopes) = compiled(*args), expected
    for got, want in zip((o, *gradients), (wanted, *slopes), strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=2e-4, atol=2e-5)
    assert compiled.schedule(*args).arena_bytes < 8 * 300 * 300 * 4
    text = str(compiled.report(*args))
    assert text.count("attention:") == 3 and "scores are stored" not in text


def test_rows_masked_throughout_are_even_shares() -> None:
    """As softmax says, also where a mask by position leaves nothing of whole blocks."""
    q, k, v = _arrays((200, 4), (200, 4), (200, 4))
    i, j = np.arange(200)[:, None], np.arange(200)[None, :]
    seen = (i >= j) & (j >= 70)   # the first 70 queries see nothing

    def attention(q: Any, k: Any, v: Any) -> Any:
        i, j = gx.arange(200)[:, None], gx.arange(200)[None, :]
        mask = gx.logical_and(i >= j, j >= 70)
        return nn.softmax(gx.where(mask, q @ gx.matrix_transpose(k), -math.inf)) @ v

    compiled = gx.compile(lambda *x: (attention(*x), gx.grad(lambda *y: gx.sum(attention(*y)), argnums=2)(*x)))
    found, slope = compiled(q, k, v)
    s = np.where(seen, q @ k.T, -np.inf)
    weights = np.where(seen.any(1, keepdims=True), np.exp(s - np.where(seen.any(1), s.max(1), 0)[:, None]), 1)
    weights /= weights.sum(1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), weights @ v, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(slope.numpy(), np.tile(weights.sum(0)[:, None], 4), rtol=1e-4, atol=1e-5)
