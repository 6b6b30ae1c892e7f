"""Sums of many float32 keep their digits: errors stay within a few units in the last place, however work is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.backends.kernels.long_sums import BLOCK, MOST, cut_loops


@pytest.mark.parametrize("terms", [1, 4, 16, 40])
def test_no_state_takes_many_terms_in_a_row(terms: int) -> None:
    for counts in ([1], [64], [65], [3000], [10**9], [7, 9], [100, 100], [1, 10**6], [10**6, 3], [50, 2, 50], [0, 5]):
        taken = terms
        for count, cut in zip(reversed(counts), reversed(cut_loops(counts, terms)), strict=True):
            for length in cut.lengths:
                assert length * taken <= max(BLOCK, taken)
                count, taken = -(-count // length), 1
            taken = max(1, count * taken)
            assert taken <= max(MOST, terms)


N = 1 << 20
_random = np.random.default_rng(0).random(N, dtype=np.float32)
VALUES = {"constant": np.full(N, 0.1, np.float32), "random": _random}

# Each as a function of the numbers, of which rows or columns are made; with what it is in float64.
SUMS: dict[str, Callable[[Any, Any], Any]] = {
    "all": lambda xp, x: xp.sum(x),
    "a row": lambda xp, x: xp.sum(xp.reshape(x, (1, N)), axis=1),
    "few rows": lambda xp, x: xp.sum(xp.reshape(x, (8, N // 8)), axis=1),
    "few columns": lambda xp, x: xp.sum(xp.reshape(x, (N // 4, 4)), axis=0),
    "columns": lambda xp, x: xp.sum(xp.reshape(x, (N // 64, 64)), axis=0),
    "many columns": lambda xp, x: xp.sum(xp.reshape(x, (N // 512, 512)), axis=0),
    "outer and inner axes": lambda xp, x: xp.sum(xp.reshape(x, (N // 32, 2, 16)), axis=(0, 2)),
    "middle axes": lambda xp, x: xp.sum(xp.reshape(x, (4, 512, N // 8192, 4)), axis=(1, 2)),
    "rows and columns": lambda xp, x: (
        xp.sum(xp.reshape(x, (N // 8, 8)), axis=0) + xp.sum(xp.sum(xp.reshape(x, (N // 8, 8)), axis=1))
    ),
    "columns of normalized rows": lambda xp, x: xp.sum(
        xp.reshape(x, (N // 8, 8)) / xp.sum(xp.reshape(x, (N // 8, 8)), axis=1, keepdims=True), axis=0
    ),
    "mean of squares": lambda xp, x: xp.mean(xp.square(x)),
    "dot": lambda xp, x: xp.vecdot(x, x),
    "long product": lambda xp, x: xp.matmul(xp.reshape(x, (8, N // 8)), xp.reshape(x, (N // 8, 8))),
    "exponentials": lambda xp, x: xp.sum(xp.exp(x)),
}


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("name", SUMS)
def test_long_sums_keep_their_digits(name: str, values: str) -> None:
    x = VALUES[values]
    got = gx.compile(lambda x: SUMS[name](gx, x))(x).numpy()
    wanted = SUMS[name](np, x.astype(np.float64))
    # Equal terms are all rounded to the same side, up to 64 times in a row, and up to 512 times in a product's tile.
    most = 5 if values == "random" else 50 if name == "long product" else 16
    assert np.max(np.abs(got - wanted) / np.spacing(np.abs(wanted).astype(np.float32))) < most


def test_softmax_and_norms_of_long_rows_keep_their_digits() -> None:
    x = _random.reshape(2, N // 2)
    wide = x.astype(np.float64)
    weights = np.exp(wide) / np.exp(wide).sum(-1, keepdims=True)
    np.testing.assert_allclose(nn.softmax(x).numpy(), weights, rtol=1e-6)
    normal = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(nn.layer_norm(x, N // 2).numpy(), normal, rtol=2e-6, atol=2e-6)


def test_many_ties_are_counted() -> None:
    """float32 can count to 2²⁴ by ones, and further only in blocks."""
    ones = np.ones((1 << 24) + (1 << 20), np.float32)
    assert gx.sum(ones).item() == ones.size


def test_scatters_of_many_updates_keep_their_digits() -> None:
    places = np.arange(N) % 3
    gradient = gx.compile(lambda x, w: gx.grad(lambda x: gx.sum(gx.take(x, places) * w))(x))
    got = gradient(np.zeros(3, np.float32), VALUES["constant"]).numpy()
    wanted = np.bincount(places, VALUES["constant"].astype(np.float64))
    np.testing.assert_allclose(got, wanted, rtol=1e-7)
