"""A loop and a choice with their gradients, from the trace to the schedule, as texts to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphc as gx
from graphc import ops
from graphc.ir import Graph
from graphc.passes.loops import loops, without_checkpoints
from graphc.passes.pipeline import optimize
from graphc.passes.schedule import schedule
from graphc.settings import Check, Settings
from graphc.text import print_graph

from .loops import H, W, X, all_of, changed


def texts(function: Callable[..., Any], *args: Any) -> str:
    graph = gx.trace(function, *args)
    optimized = optimize(graph, Settings(check=Check.ALL))
    return "\n\n".join([print_graph(graph, lines=False), print_graph(optimized, lines=False), str(schedule(optimized))])


def recurrent(w: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        return gx.tanh(h @ w + x), None

    return gx.sum(gx.scan(step, xs[0], xs)[0])


def chosen(x: Any) -> Any:
    return gx.cond(gx.sum(x) > 0, lambda: gx.sum(x * x), lambda: gx.sum(gx.sin(x)))


def test_golden_scan(golden: Callable[[str, str], None]) -> None:
    golden("passes/scan.txt", texts(lambda w, xs: gx.grad(recurrent)(w, xs), W, X))


def test_golden_cond(golden: Callable[[str, str], None]) -> None:
    golden("passes/cond.txt", texts(lambda x: gx.grad(chosen)(x), H))


def test_checkpoints_are_put_in_their_places() -> None:
    def f(h: Any, w: Any) -> Any:
        inner = gx.checkpoint(lambda x: gx.sin(x @ w))
        return gx.checkpoint(lambda x: inner(inner(x)))(h)

    def all_in(graph: Graph) -> Graph:
        while (fewer := without_checkpoints(graph)) is not graph:
            graph = fewer
        return graph

    assert not all_of(changed(all_in, f, H, W), ops.checkpoint) and not all_of(changed(loops, f, H, W), ops.checkpoint)
