"""Small products of slices with consts are one product before the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ops
from graphc.ir import Graph, map_graphs
from graphc.passes.batch import batch
from graphc.passes.pipeline import optimize
from graphc.settings import Check, Settings

from .loops import H, W, X, all_of, changed, only


def batched(graph: Graph) -> Graph:
    return map_graphs(graph, batch)


def products(graph: Graph) -> list[int]:
    """How many are in the graph, and how many in bodies."""
    here = sum(n.op is ops.dot_general for n in graph.nodes)
    return [here, len(all_of(graph, ops.dot_general)) - here]


def recurrent(w: Any, u: Any, xs: Any, **options: Any) -> Any:
    return gx.sum(gx.scan(lambda h, x: (gx.tanh(x @ w + h @ u), None), xs[0] * 0, xs, **options)[0])


@pytest.mark.parametrize("xs", [X, np.stack([X, X + 1, X - 1])], ids=["vectors", "matrices"])
@pytest.mark.parametrize("reverse", [False, True])
def test_products_of_slices_leave_and_products_of_carries_stay(xs: np.ndarray, reverse: bool) -> None:
    graph = changed(batched, lambda w, u, xs: recurrent(w, u, xs, reverse=reverse), W, W.T.copy(), xs)
    assert products(graph) == [1, 1]


def test_gradients_too() -> None:
    def f(w: Any, u: Any, xs: Any) -> Any:
        return gx.grad(recurrent, (0, 1, 2))(w, u, xs)

    graph = optimize(gx.trace(f, W, W, X), Settings(check=Check.ALL))
    assert [len(all_of(n.attrs["body"], ops.dot_general)) for n in all_of(graph, ops.scan)] == [1, 1]
    for backend in ("reference", "llvm"):
        for a, b in zip(gx.compile(f, backend=backend)(W, W, X), f(W, W, X), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4)


def joined(w: Any, xs: Any, order: int = 1, **options: Any) -> Any:
    """A cell as recurrent networks have it: one product of what is new and what is carried."""

    def step(h: Any, x: Any) -> Any:
        h = gx.tanh(gx.concat([x, h, x * 2][::order], axis=-1) @ w)
        return h, h

    return gx.scan(step, xs[0] * 0, xs, **options)[1]


@pytest.mark.parametrize("xs", [X, np.stack([X, X + 1, X - 1])], ids=["vectors", "matrices"])
@pytest.mark.parametrize("order", [1, -1])
def test_products_of_what_slices_are_joined_to_are_one_of_each(xs: np.ndarray, order: int) -> None:
    w = np.concatenate([W, W.T, W * 2])
    graph = changed(batched, lambda w, xs: joined(w, xs, order), w, xs, rtol=1e-4)
    assert products(graph) == [1, 1]  # x · 2 is no slice, and joined to what is carried
    for backend in ("reference", "llvm"):
        found = gx.compile(gx.grad(lambda w, xs: gx.sum(joined(w, xs) ** 2), (0, 1)), backend=backend)(w, xs)
        for a, b in zip(found, gx.grad(lambda w, xs: gx.sum(joined(w, xs) ** 2), (0, 1))(w, xs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


STAYS: list[Callable[..., Any]] = [
    lambda w, xs: gx.scan(lambda h, x: (h + w @ x, None), H, xs)[0],  # the slice's axes come last
    lambda w, xs: gx.scan(lambda h, x: (h + (x + h) @ w, None), H, xs)[0],  # no slice
    lambda w, xs: gx.scan(lambda h, x: (h + x @ w, None), H, xs[:1])[0],  # one is no loop
    lambda w, xs: gx.scan(lambda h, x: (h @ w + x, None), H, xs)[0],
    lambda w, xs: gx.scan(lambda h, x: (gx.concat([h[:1], h[1:]]) @ w + x, None), H, xs)[0],
    lambda w, xs: gx.scan(lambda h, x: ((gx.concat([x[None], h[None]]) @ w)[1], None), H, xs)[0],  # joined rows
]


@pytest.mark.parametrize("stays", STAYS)
def test_what_stays(stays: Callable[..., Any]) -> None:
    assert products(changed(batched, stays, W, X)) == [0, 1]


def test_products_of_many_rows_stay() -> None:
    many = np.ones((2, 300, 3), np.float32)
    node = only(changed(batched, lambda w, xs: gx.scan(lambda h, x: (h, x @ w), None, xs)[1], W, many))
    assert all_of(node.attrs["body"], ops.dot_general)
