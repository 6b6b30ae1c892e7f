"""Products that loops only stack are one product after the loop; parts of products that nobody reads are not made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ops
from graphc.ir import Graph, map_graphs
from graphc.passes.batch_after import batch_after
from graphc.passes.hoist import hoist

from .loops import H, W, X, all_of, changed
from .test_batch import products


def after(graph: Graph) -> Graph:
    return map_graphs(graph, batch_after)


def _stacked(h: Any, x: Any, w: Any, wide: Any) -> Any:
    h = gx.tanh(h + x)
    return h, h @ w


def _split(h: Any, x: Any, w: Any, wide: Any) -> Any:
    """A part of a product is stacked, and one goes on."""
    y = gx.sin(h + x) @ wide[:, :6]
    return y[3:], y[:3]


def _parts_only(h: Any, x: Any, w: Any, wide: Any) -> Any:
    y = gx.sin(h + x) @ wide
    return y[3:6], y[0:2]


def _carried_too(h: Any, x: Any, w: Any, wide: Any) -> Any:
    y = (h + x) @ w
    return y, y


def _changed(h: Any, x: Any, w: Any, wide: Any) -> Any:
    return h * 0.5, (h + x) @ w + 1


def _larger(h: Any, x: Any, w: Any, wide: Any) -> Any:
    return h * 0.5, gx.concat([h, x, h]) @ gx.permute_dims(wide, (1, 0))[:, :1]


CASES: dict[str, tuple[Callable[..., Any], list[int]]] = {  # and how many products are outside, and in the loop
    "stacked": (_stacked, [1, 0]), "split": (_split, [1, 1]), "only parts": (_parts_only, [1, 1]),
    "carried, too": (_carried_too, [0, 1]), "changed": (_changed, [0, 1]),
    "made of more than it gives": (_larger, [0, 1]),
}  # fmt: skip


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_what_leaves(name: str, reverse: bool) -> None:
    body, wanted = CASES[name]

    def loop(w: Any, xs: Any) -> Any:
        wide = gx.concat([w, w * 2, w], axis=1)
        return gx.scan(lambda h, x: body(h, x, w, wide), H, xs, reverse=reverse)

    graph = changed(lambda g: after(hoist(g)), loop, W, X)
    assert products(graph) == wanted
    for backend in ("reference", "llvm"):
        for a, b in zip(gx.compile(loop, backend=backend)(W, X), loop(W, X), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_parts_that_nobody_reads_are_not_computed() -> None:
    def loop(w: Any, xs: Any) -> Any:
        return gx.scan(lambda h, x: _parts_only(h, x, w, w), H, xs)

    graph = changed(lambda g: after(hoist(g)), loop, np.concatenate([W, W * 2, W], axis=1), X)
    assert sorted(n.shape for n in all_of(graph, ops.dot_general)) == [(3,), (4, 2)]


def test_rows_that_no_iteration_makes_stay_zero() -> None:
    def loop(w: Any, h: Any) -> Any:
        def f(w: Any, h: Any) -> Any:
            return gx.sum(gx.while_loop(lambda c: gx.sum(c) < 9, lambda c: c * 1.5 + gx.tanh(c @ w), h, max_steps=7))

        return gx.grad(f, (0, 1))(w, h)

    for a, b in zip(gx.compile(loop)(W, H / 4), loop(W, H / 4), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
