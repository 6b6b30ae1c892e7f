"""The texts of a recurrent network, and of a search with a choice in it: graph and steps.

A change of them should be meant: look at the difference, then run with --update-golden.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import graphc as gx


def recurrent(h: gx.Tensor, x: gx.Tensor, w: gx.Tensor) -> Any:
    def step(h: gx.Tensor, x: gx.Tensor) -> Any:
        h = gx.tanh(h @ w + x)
        return h, h

    return gx.scan(step, h, x, reverse=True)


def search(n: gx.Tensor) -> Any:
    def step(c: Any) -> Any:
        n, steps = c
        return gx.cond(n % 2 == 0, lambda: n // 2, lambda: 3 * n + 1), steps + 1

    return gx.while_loop(lambda c: c[0] != 1, step, (n, 0))[1]


CASES: dict[str, tuple[Callable[..., Any], list[gx.Spec]]] = {
    "recurrent": (recurrent, [gx.spec((8, 16)), gx.spec((5, 8, 16)), gx.spec((16, 16))]),
    "search": (search, [gx.spec((), "int64")]),
}


@pytest.mark.parametrize("name", CASES)
def test_stages(name: str, golden: Any) -> None:
    function, specs = CASES[name]
    compilation = gx.compile(function, inputs=specs).specialize().compilation
    for stage, text in (("optimized", compilation.graph), ("schedule", compilation.schedule)):
        golden(f"control/{name}.{stage}.txt", re.sub(r"(\.py):\d+", r"\1", str(text)))
