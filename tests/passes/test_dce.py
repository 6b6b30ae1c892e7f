"""What nothing needs goes: also results of loops and branches, and what they take and compute for those alone."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gx
from graphc import ops
from graphc.passes.dce import dce, has_dead_code

from .loops import H, W, X, all_of, changed, only


def test_carries_that_no_result_needs_in_any_iteration() -> None:
    def step(carry: Any, x: Any) -> Any:
        a, b, c, dead = carry
        return (a + b, b + c, c + x[0], dead * x[1] + a), (a, gx.exp(dead))

    def f(h: Any, x: Any) -> Any:
        (a, *_), _ = gx.scan(step, (h, h, h, h), (x, x * 2))
        return a

    graph = changed(dce, f, H, X)
    node = only(graph)
    assert (node.attrs["carries"], len(node.inputs), len(node.attrs["body"].outputs)) == (3, 4, 3)
    assert not all_of(graph, ops.exp) and not [n for n in graph.nodes if n.op is ops.multiply]
    assert not has_dead_code(graph) and has_dead_code(gx.trace(f, H, X))


def test_while_loops_keep_what_the_condition_looks_at() -> None:
    def f(h: Any, w: Any) -> Any:
        def body(c: Any) -> Any:
            return c[0] + 1, c[1] * 2, c[2] @ w

        return gx.while_loop(lambda c: c[0] < 3, body, (0, h, h))[1]

    node = only(changed(dce, f, H, W), ops.while_loop)
    assert (node.attrs["carries"], node.attrs["consts"], len(node.inputs)) == (2, 0, 2)


def test_branches_and_bodies_within_bodies() -> None:
    def f(p: Any, h: Any, w: Any) -> Any:
        def yes() -> Any:
            return gx.scan(lambda c, _: ((c[0] + 1, c[1] @ w), None), (h, h), length=3)[0]

        return gx.cond(p, yes, lambda: (h, h @ w))[0]

    graph = changed(dce, f, np.True_, H, W)
    assert len(only(graph, ops.switch).inputs) == 2 and only(graph).attrs["carries"] == 1
    assert not all_of(graph, ops.dot_general)


def test_what_only_a_dead_result_took_of_another_loop_goes_too() -> None:
    def f(h: Any, x: Any) -> Any:
        (_, b), ys = gx.scan(lambda c, r: ((c[0] + r, c[1] * 2), gx.exp(r)), (h, h), x)
        (used, _), _ = gx.scan(lambda c, r: ((c[0] + 1, c[1] + r), None), (b, h), ys)
        return used

    graph = changed(dce, f, H, X)
    assert not all_of(graph, ops.exp) and [n.attrs["carries"] for n in all_of(graph, ops.scan)] == [1, 1]
