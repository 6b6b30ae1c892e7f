"""What loops, branches and calls are given, or give, is not copied for another shape, or where it begins further on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.evaluate import evaluate_graph
from graphc.passes.pipeline import optimize
from graphc.passes.schedule import schedule
from graphc.schedule import KernelStep, Schedule
from graphc.settings import Settings
from tests.contract.backends import run_on

F: Any = np.float32
RNG = np.random.default_rng(0)
XS = RNG.standard_normal((12, 3)).astype(F)
H = RNG.standard_normal(3).astype(F)


def _summed(xs: Any, h: Any, **options: Any) -> Any:
    return gx.scan(lambda h, x: (h * 0.5 + x, h), h, xs, **options)


def _in_a_loop(xs: Any, h: Any) -> Any:
    """A view of a slice, and of what is carried, for an inner loop."""

    def outer(h: Any, x: Any) -> Any:
        g, _ = _summed(gx.reshape(x, (4, 3))[1:], gx.reshape(gx.reshape(h, (3, 1)), (3,)))
        return g, None

    return gx.scan(outer, h, gx.reshape(xs, (3, 12)))[0]


def _twice_a_result(xs: Any, h: Any) -> Any:
    _, ys = _summed(xs, h)
    return gx.reshape(ys, (36,)), gx.reshape(ys, (6, 6)), ys


def _also_computed_with(xs: Any, h: Any) -> Any:
    rows = gx.reshape(xs * 2, (12, 3))
    return _summed(gx.reshape(rows, (3, 4, 3))[1], h), gx.sum(rows)


CASES: dict[str, tuple[Callable[..., Any], int]] = {  # and how many copies there are
    "rows from the second on": (lambda xs, h: _summed(xs[1:], h), 0),
    "rows but the last, in reverse": (lambda xs, h: _summed(xs[:-1], h, reverse=True), 0),
    "rows of rows": (lambda xs, h: _summed(gx.reshape(xs[2:8], (6, 3))[1:4], h), 0),
    "a shape": (lambda xs, h: _summed(gx.reshape(xs, (6, 2, 3)), gx.stack([h, h])), 0),
    "a shape of a result": (lambda xs, h: gx.reshape(_summed(xs, h)[1], (4, 9)), 0),
    "rows of a result": (lambda xs, h: _summed(_summed(xs, h)[1][3:], h), 0),
    "each other row": (lambda xs, h: _summed(xs[::2], h), 1),
    "a loop in a loop": (_in_a_loop, 0),
    "a result in several shapes": (_twice_a_result, 2),
    "rows of what is computed": (_also_computed_with, 0),
    "segments": (lambda xs, h: _summed(xs, h, remat=True), 0),
    "a constant": (lambda xs, h: _summed(gx.asarray(XS)[2:], h), 0),
    "a branch": (lambda xs, h: gx.cond(h[0] > 9, lambda x: x + 1, lambda x: x * 2, gx.reshape(xs, (36,))), 0),
    "a call": (lambda xs, h: gx.sort(gx.reshape(xs, (36,))), 0),
}  # fmt: skip


def _copies(plan: Schedule) -> int:
    """Kernels that only move things of some size."""
    moves = {"copy", "reshape", "slice", "delay"}
    found = [s for s in plan.leaves if isinstance(s, KernelStep) and moves.issuperset(s.ops)]
    return sum(math.prod(axis.size for axis in s.kernel.parallel) > 2 * H.size for s in found)


@pytest.mark.parametrize("name", CASES)
def test_views_of_rows_and_shapes_are_where_they_are(name: str) -> None:
    function, copies = CASES[name]
    graph = optimize(gx.trace(function, XS, H), Settings())
    assert _copies(schedule(graph)) == copies
    wanted, _ = evaluate_graph(graph, [XS, H])
    for backend in ("kernels", "llvm", *(("triton",) if name != "a call" else ())):
        for a, b in zip(run_on(backend, graph, [XS, H]), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=backend)


def test_rows_of_a_variable_are_read_before_it_changes() -> None:
    v = gx.Variable(XS)

    @gx.compile
    def step(h: Any) -> Any:
        last, _ = _summed(v[1:], h)
        v.assign(v * 2)
        return last

    wanted = _summed(XS[1:], H)[0]
    assert step(H).tolist() == wanted.tolist() and v.numpy().tolist() == (XS * 2).tolist()
    assert _copies(step.schedule(H)) == 0


def test_memory_in_segments_grows_with_the_square_root_of_the_length() -> None:
    def step(h: Any, x: Any) -> Any:
        return gx.tanh(h + x), None

    def arena(length: int, wrt: Any) -> int:
        grad = gx.compile(gx.grad(lambda h, xs: gx.sum(gx.scan(step, h, xs, remat=True)[0]), wrt))
        return grad.schedule(np.zeros(100, F), np.zeros((length, 100), F)).arena_bytes

    for wrt in (0, (0, 1)):
        assert arena(6400, wrt) < 2.1 * arena(1600, wrt) < 1600 * 400 / 4
