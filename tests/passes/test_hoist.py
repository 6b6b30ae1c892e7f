"""Work that is the same in each iteration is done once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ops
from graphc.ir import Graph, map_graphs
from graphc.passes.hoist import hoist
from graphc.passes.pipeline import optimize
from graphc.passes.split_prepare import split_prepare
from graphc.settings import Settings

from .loops import H, W, X, all_of, changed, only

BIG = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) / 4096
ROWS = np.ones((5, 64), np.float32)


def hoisted(graph: Graph) -> Graph:
    return map_graphs(graph, hoist)


def test_products_and_sums_of_consts_move_out_of_all_loops() -> None:
    def f(w: Any, x: Any) -> Any:
        def outer(c: Any, r: Any) -> Any:
            return gx.scan(lambda d, _: (gx.tanh(d @ (w @ w) + gx.sum(w, axis=0)), None), c + r, length=2)[0], None

        return gx.scan(outer, x[0], x)[0]

    graph = changed(hoisted, f, W, X)
    outer = only_here(graph)
    assert sum(n.op is ops.dot_general for n in graph.nodes) == sum(n.op is ops.sum for n in graph.nodes) == 1
    assert len(all_of(outer.attrs["body"], ops.dot_general)) == 1 and not all_of(outer.attrs["body"], ops.sum)


def only_here(graph: Graph) -> Any:
    (node,) = [n for n in graph.nodes if n.op is ops.scan]
    return node


def test_transposes_and_dear_work_move_out_and_cheap_work_stays() -> None:
    def f(w: Any, b: Any, x: Any) -> Any:
        return gx.scan(lambda c, r: (c @ gx.exp(w.T) + r * (b + 1), None), x[0], x)[0]

    node = only(changed(hoisted, f, BIG, ROWS[0], ROWS))
    kinds = {n.op for n in node.attrs["body"].nodes}
    assert not {ops.exp, ops.permute} & kinds and ops.add in kinds


def test_work_that_may_fail_stays_in_loops_that_may_not_begin() -> None:
    def loop(times: Any) -> Any:
        def f(w: Any, i: Any, x: Any, n: Any) -> Any:
            return times(lambda c: c * gx.take(w, i), x, n)

        return f

    args = BIG.ravel(), np.array([7, 9]), np.ones(2, np.float32), np.int64(3)
    sure = loop(lambda body, x, n: gx.scan(lambda c, _: (body(c), None), x, length=3)[0])
    unsure = loop(lambda body, x, n: gx.fori_loop(0, n, lambda i, c: body(c), x))
    assert not all_of(only(changed(hoisted, sure, *args)).attrs["body"], ops.gather)
    assert all_of(only(changed(hoisted, unsure, *args), ops.while_loop).attrs["body"], ops.gather)
    bad = BIG.ravel(), np.array([7, 1 << 20]), np.ones(2, np.float32), np.int64(0)
    for backend in ("reference", "llvm"):
        assert gx.compile(unsure, backend=backend)(*bad).tolist() == [1, 1]


def test_conditions_too() -> None:
    def f(w: Any, x: Any) -> Any:
        return gx.while_loop(lambda c: gx.sum(c) < gx.sum(w @ w), lambda c: c * 2 + gx.sum(w * w), x)

    node = only(changed(hoisted, f, W, H), ops.while_loop)
    assert not all_of(node.attrs["cond"], ops.dot_general) and len(all_of(node.attrs["cond"], ops.sum)) == 1


@pytest.mark.parametrize("order", [0, 1])
def test_what_lasts_is_prepared_once_for_all_calls(order: int) -> None:
    w = gx.Variable(BIG)

    def f(x: Any) -> Any:
        loss: Any = lambda x: gx.sum(gx.scan(lambda c, r: (gx.tanh(c @ (w @ w.value.T) + r), None), x[0], x)[0])  # noqa: E731
        return gx.grad(loss)(x) if order else loss(x)

    graph = optimize(gx.trace(f, ROWS), Settings())
    prepare, main = split_prepare(graph)
    products = [len(all_of(g, ops.dot_general)) for g in (prepare, main)]
    assert products == [1, 1 + order]
