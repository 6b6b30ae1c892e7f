"""Bodies are given what they need, once."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gx
from graphc import ops
from graphc.passes.narrow import narrow

from .loops import H, W, X, all_of, changed, only


def test_numbers_that_are_known_go_into_the_innermost_body() -> None:
    def f(h: Any, x: Any) -> Any:
        two, threes = gx.full((), 2.0), gx.full((3,), 3.0)

        def outer(c: Any, r: Any) -> Any:
            return gx.scan(lambda d, e: (d * two + e + threes, None), c, r)[0], None

        return gx.scan(outer, h, x)[0]

    graph = changed(narrow, f, H, X)
    assert [n.attrs["consts"] for n in all_of(graph, ops.scan)] == [0, 0]


def test_carries_that_do_not_change_are_consts() -> None:
    def step(carry: Any, x: Any) -> Any:
        c, same, zero = carry
        return (c * same + x + zero, same, zero * 0 + 0.0 if False else gx.zeros(3)), None

    def f(h: Any, w: Any, x: Any) -> Any:
        return gx.scan(step, (h, w[0], gx.zeros(3)), x)[0]

    node = only(changed(narrow, f, H, W, X))
    assert (node.attrs["carries"], node.attrs["consts"]) == (1, 1)


def test_slices_that_are_all_the_same_are_consts() -> None:
    def f(h: Any, x: Any) -> Any:
        same = gx.broadcast_to(h, (4, 3))
        return gx.scan(lambda c, r: (c * r[0] + r[1] + r[2] + r[3], None), h, (x, same, gx.ones((4, 3)), x))[0]

    node = only(changed(narrow, f, H, X))
    assert node.attrs["consts"] == 1 and len(node.inputs) == 3  # h, the carry, x


def test_conditions_follow() -> None:
    def f(x: Any, limit: Any) -> Any:
        def body(c: Any) -> Any:
            return c[0] * c[1] * c[2], c[1], c[2], c[3]

        return gx.while_loop(lambda c: c[0] * c[3] < limit, body, (x, 2.0, limit, limit))[0]

    node = only(changed(narrow, f, np.float32(1), np.float32(30)), ops.while_loop)
    assert (node.attrs["carries"], node.attrs["consts"]) == (1, 1)


def test_branches_are_given_each_thing_once() -> None:
    def f(p: Any, x: Any) -> Any:
        y = gx.full((4, 3), 2.0)
        return gx.cond(p, lambda: x * y, lambda: gx.cond(p, lambda: x, lambda: x * y * 3))

    outer, inner = all_of(changed(narrow, f, np.True_, X), ops.switch)
    assert len(outer.inputs) == 3 and len(inner.inputs) == 2


def test_a_loop_that_needs_all_stays() -> None:
    graph = gx.trace(lambda h, x: gx.scan(lambda c, r: (c * r, c), h, x), H, X)
    assert str(narrow(graph)) == str(graph)
