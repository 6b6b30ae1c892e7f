"""How values follow a maximum of their row: by recipes' steps, whatever they are called."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from graphc.backends.kernels.running import Form, Free, Scaled, Shifted, forms
from tests.attention_kernels import Attention, Scores

CASE = Attention(batch=1, heads=1, queries=9, keys=9)

# A recipe of a score t, its maximum m, and another score; how the result depends on m, value number 0 here.
RECIPES: dict[str, tuple[Callable[..., Any], Form]] = {
    "difference": (lambda s, t, m, x: t - m, Shifted(0, -1.0)),
    "exponential": (lambda s, t, m, x: s.exp(t - m), Scaled(0, -1.0)),
    "scaled": (lambda s, t, m, x: s.exp((t - m) * 0.5), Scaled(0, -0.5)),
    "negated": (lambda s, t, m, x: s.exp(-(m - t)), Scaled(0, -1.0)),
    "power of two": (lambda s, t, m, x: s.exp2(t - m), Scaled(0, -math.log(2))),
    "fused": (lambda s, t, m, x: s.exp(s.fma(m, s.const(-2.0, m.dtype), t)), Scaled(0, -2.0)),
    "times what is free of it": (lambda s, t, m, x: s.exp(t - m) * x / (x + 1), Scaled(0, -1.0)),
    "0 for equal infinities": (lambda s, t, m, x: s.exp(s.select(s.eq(t, m), 0, t - m)), Scaled(0, -1.0)),
    "0 where others are equal": (lambda s, t, m, x: s.exp(s.select(s.eq(x, m), 0, t - m)), None),
    "1 where they are equal": (lambda s, t, m, x: s.exp(s.select(s.eq(t, m), 1, t - m)), None),
    "masked to 0": (lambda s, t, m, x: s.select(x < 0, s.const(0, t.dtype), s.exp(t - m)), Scaled(0, -1.0)),
    "masked to 1": (lambda s, t, m, x: s.select(x < 0, s.const(1, t.dtype), s.exp(t - m)), None),
    "masked to -inf": (lambda s, t, m, x: s.select(x < 0, s.const(-math.inf, t.dtype), t - m), Shifted(0, -1.0)),
    "masked by it": (lambda s, t, m, x: s.select(t < m, s.const(0, t.dtype), s.exp(t - m)), None),
    "sum with what is free of it": (lambda s, t, m, x: s.exp(t - m) + x, None),
    "square": (lambda s, t, m, x: s.exp(t - m) * s.exp(t - m), None),
    "product": (lambda s, t, m, x: (t - m) * x, None),
    "free of it": (lambda s, t, m, x: s.exp(t) * x, Free()),
}


@pytest.mark.parametrize("name", RECIPES)
def test_forms(name: str) -> None:
    recipe, wanted = RECIPES[name]
    s = Scores(CASE)
    m = s.b.max_or_infinity(s.t, s.over("j"))
    other = s.b.apply(lambda s, x: x * x, s.t)
    result = s.b.apply(recipe, s.t, m, other, name="recipe")
    s.b.store(s.rows("sum"), s.row, s.b.sum(result, s.over("j")))
    found = forms(s.kernel(), frozenset(s.over("j")))[result]
    if isinstance(found, Shifted | Scaled):
        assert found.by == m
        found = type(found)(0, found.factor)
    assert found == wanted
