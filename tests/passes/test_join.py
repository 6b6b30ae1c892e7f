"""Control nodes that do the same over the same inputs become one."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gx
from graphc import ops
from graphc.passes.cse import cse
from graphc.passes.dce import dce
from graphc.passes.join import join
from graphc.text import parse

from .loops import H, W, X, all_of, changed, only


def test_scans_that_carry_the_same_are_one_with_all_results() -> None:
    def f(h: Any, x: Any) -> Any:
        first = gx.scan(lambda c, r: (gx.sin(c + r), None), h, x)[0]
        again, ys = gx.scan(lambda c, r: (gx.sin(c + r), gx.cos(r)), h, x)
        return first, again, ys

    node = only(changed(join, f, H, X))
    assert len(node.attrs["body"].outputs) == 2


def test_scans_that_carry_something_else_stay() -> None:
    def f(h: Any, x: Any) -> Any:
        steps = (lambda c, r: (gx.sin(c + r), c), lambda c, r: (gx.cos(c + r), c))
        return [gx.scan(step, h, x) for step in steps] + [gx.scan(steps[0], h, x, reverse=True)]

    assert len(all_of(changed(join, f, H, X), ops.scan)) == 3


def test_gradients_of_nested_loops_and_branches_leave_one_of_each_way() -> None:
    def loss(w: Any, x: Any) -> Any:
        def outer(c: Any, r: Any) -> Any:
            c = gx.scan(lambda d, e: (gx.tanh(d @ w + e), None), c, r)[0]
            return gx.cond(gx.sum(c) > 0, lambda: gx.exp(c), lambda: gx.sin(c)), None

        return gx.sum(gx.scan(outer, x[0], x)[0])

    graph = changed(join, lambda w, x: gx.value_and_grad(loss)(w, x), W, X)
    assert len(all_of(graph, ops.scan)) == 4 and len(all_of(graph, ops.switch)) == 2


def test_while_loops_keep_their_count_between_carries_and_stacks() -> None:
    def f(x: Any) -> Any:
        return gx.value_and_grad(lambda x: gx.while_loop(lambda c: c < 9, lambda c: c * c, x, max_steps=5))(x)

    assert len(all_of(changed(join, f, np.float32(1.5)), ops.while_loop)) == 1


def test_equal_texts_are_enough() -> None:
    """Bodies need not be made of the same nodes."""
    body = "{body = graph(%h: float32[]) { %0 = sin(%h) return %0, MORE }, consts = 0, carries = 1, length = 3, "
    body += "reverse = false, counted = false}"
    graph = parse(f"""graph(%x: float32[]) {{
      %0 = scan(%x) {body.replace("MORE", "%h")}
      %1 = scan(%x) {body.replace("MORE", "%0")}
      %2 = item(%0) {{index = 1}}
      %3 = item(%1) {{index = 1}}
      %4 = item(%1) {{index = 0}}
      return %2, %3, %4 }}""")
    (node,) = all_of(join(graph), ops.scan)
    assert [o.attrs["index"] for o in join(graph).outputs] == [1, 2, 0] and len(node.attrs["body"].outputs) == 3


def test_a_stack_that_is_made_twice_is_made_once() -> None:
    def f(h: Any, x: Any) -> Any:
        def step(c: Any, r: Any) -> Any:
            y = gx.sin(c + r)
            return y, (y, c, y)

        return gx.scan(step, h, x)[1]

    assert len(only(changed(lambda g: dce(cse(g)), f, H, X)).attrs["body"].outputs) == 3
