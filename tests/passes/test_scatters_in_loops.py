"""Loops that add to a few elements of a large array each time do not go through all of it each time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.evaluate import evaluate_graph
from graphc.passes.pipeline import optimize
from graphc.passes.schedule import schedule
from graphc.schedule import KernelStep, LoopStep, Step
from graphc.settings import Settings
from tests.contract.backends import run_on

F: Any = np.float32
RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((50, 4)).astype(F)
TOKENS = np.array([3, 7, 3, 49, 0, 3])


def _by_slices(table: Any) -> Any:
    return gx.scan(lambda h, t: (gx.tanh(h + table[t]), None), gx.zeros(4), TOKENS)[0]


def _by_counting(table: Any) -> Any:
    return gx.fori_loop(0, 30, lambda i, h: gx.sin(h) * table[i], gx.ones(4))


def _as_long_as(table: Any) -> Any:
    return gx.while_loop(lambda c: c[0] < 9, lambda c: (c[0] + 2, gx.sin(c[1] * table[c[0]])), (1, gx.ones(4)),
                         max_steps=20)[1]  # fmt: skip


def _twice(table: Any) -> Any:
    return gx.scan(lambda h, t: (gx.tanh(h * table[t] + table[t // 2]), None), gx.ones(4), TOKENS)[0]


def _in_a_carry(table: Any) -> Any:
    """What is read is carried, though it never changes after the first half."""
    return gx.scan(lambda c, t: ((c[0], gx.tanh(c[1] + c[0][t])), None), (table * 2, gx.zeros(4)), TOKENS)[0][1]


CASES: dict[str, Callable[[Any], Any]] = {
    "by slices": _by_slices, "by counting": _by_counting, "as long as": _as_long_as, "twice": _twice,
    "in a carry": _in_a_carry,
}  # fmt: skip


def _in_loops(steps: Sequence[Step], inside: bool = False) -> Iterator[KernelStep]:
    for step in steps:
        if isinstance(step, KernelStep):
            yield from (step,) if inside else ()
        for block in step.blocks:
            yield from _in_loops(block, inside or isinstance(step, LoopStep))


def _points(step: KernelStep) -> int:
    kernel = step.kernel
    return math.prod(axis.size for axis in (*kernel.parallel, *kernel.row, *kernel.contracted))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_added_where_they_are(name: str, dtype: Any) -> None:
    table = TABLE.astype(dtype)
    graph = optimize(gx.trace(gx.grad(lambda x: gx.sum(CASES[name](x))), table), Settings())
    plan = schedule(graph)
    assert max(map(_points, _in_loops(plan.steps))) < TABLE.size
    (wanted,), _ = evaluate_graph(graph, [table])
    for backend in ("kernels", "llvm"):
        (found,) = run_on(backend, graph, [table])
        np.testing.assert_allclose(found.astype(F), wanted.astype(F), rtol=1e-5 if dtype is F else 4e-3, atol=1e-4)


def test_an_array_that_is_read_on_is_copied_before_something_is_added() -> None:
    def both(x: Any) -> Any:
        def step(h: Any, t: Any) -> Any:
            """The slope of what is read from the carry goes into the next one, and the old one is kept."""
            return gx.grad(lambda h: gx.sum(h[t] ** 2))(h) + h, h[0]

        return gx.scan(step, x, TOKENS)

    graph = optimize(gx.trace(both, TABLE), Settings())
    wanted, _ = evaluate_graph(graph, [TABLE])
    for backend in ("kernels", "llvm"):
        for a, b in zip(run_on(backend, graph, [TABLE]), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_an_embedding_and_its_transpose_share_one_gradient() -> None:
    """No zeros, and no sum of two tables."""

    def loss(w: Any) -> Any:
        return gx.sum(gx.tanh(w[TOKENS] @ w.T))

    plan = schedule(optimize(gx.trace(gx.grad(loss), TABLE), Settings()))
    last = [s for s in plan.leaves if isinstance(s, KernelStep) and any(plan.buffers[b].space.value == "output"
                                                                        for b in s.written)]  # fmt: skip
    assert [sum(store.scatter for store in s.kernel.stores) for s in last] == [0, 1]
